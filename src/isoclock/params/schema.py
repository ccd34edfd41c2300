"""What may stand in params/: one pydantic model an entry, with units in the names or in the comments.

Every entry carries `provenance`: where each value comes from. Its keys are value names (dotted for nested ones, `*` for the
rest); its values start with `published:` (and name the source), `assumed` or `ours`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from isoclock.methods.card import Implementation

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=1, strict=True)]

_PROVENANCE = re.compile(r"^(published: \S.*|assumed(: \S.*)?|ours(: \S.*)?)$", re.DOTALL)


class Entry(BaseModel):
    """A named entry of a params file: unknown keys are errors, every value has its provenance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provenance: dict[str, str]

    @model_validator(mode="after")
    def _every_value_has_provenance(self) -> Entry:
        for key, text in self.provenance.items():
            if not _PROVENANCE.match(text):
                raise ValueError(
                    f"provenance of {key} is {text!r}; it starts with 'published: <source>', 'assumed' or 'ours'"
                )
        given = self.model_dump(exclude={"provenance"}, exclude_unset=True)
        values = list(_leaves(given))
        for value in values:
            if not any(key == "*" or value == key or value.startswith(f"{key}.") for key in self.provenance):
                raise ValueError(f"{value} has no provenance; name it under provenance, or give '*'")
        for key in self.provenance:
            if key != "*" and not any(value == key or value.startswith(f"{key}.") for value in values):
                raise ValueError(f"provenance names {key}, which the entry does not have")
        return self


def _is_none(value: object) -> bool:
    return value is None


def _is_zero(value: object) -> bool:
    return value == 0


class Dataset(Entry):
    """A data set on disk (params/datasets.yaml)."""

    reader: Name  # a file of src/isoclock/data/readers
    root: str  # folder of the raw data; ISOCLOCK_ROOT_<DATASET> in the environment stands above it
    size: tuple[Count, Count] | None = None  # pixels (height, width): resized to when packed; none: as it is
    train: str  # name of the training split
    val: str  # name of the split that is scored
    images: dict[str, Count] = {}  # how many a split has; another number is refused, a split not named is not counted
    storage: Literal["raw", "jpeg"] = "raw"  # of packed images: as they are, or encoded and decoded with each access
    # Two ways to images that are trained on without labels, apart or together; left out of stamps where they are not given.
    unlabelled: str | None = Field(None, exclude_if=_is_none)  # raw split of further images; labels it has are not read
    labelled_images: Count | None = Field(None, exclude_if=_is_none)  # of `train`; the labels of all others are hidden
    labelled_seed: Annotated[int, Field(ge=0, strict=True)] | None = Field(None, exclude_if=_is_none)  # which; none: 0
    teacher_from: Name | None = None  # the data set whose teachers teach here; none: its own

    @model_validator(mode="after")
    def _further_images(self) -> Dataset:
        if self.labelled_seed is not None and self.labelled_images is None:
            raise ValueError("labelled_seed chooses the labelled_images, and there are none; remove it")
        if self.unlabelled in (self.train, self.val):
            raise ValueError(
                f"unlabelled is {self.unlabelled!r}, which is trained on with labels or scored; name another"
            )
        return self

    @model_validator(mode="after")
    def _counts_are_of_splits(self) -> Dataset:
        splits = {split for split in (self.train, self.val, self.unlabelled) if split is not None}
        if unknown := sorted(set(self.images) - splits):
            raise ValueError(f"images.{unknown[0]}: the entry has no such split; it has {', '.join(sorted(splits))}")
        return self

    @property
    def has_unlabelled(self) -> bool:
        """Whether there are images to train on without labels."""
        return self.unlabelled is not None or self.labelled_images is not None


class Model(Entry):
    """A segmenter (params/models.yaml, section `models`)."""

    architecture: Name  # a file of src/isoclock/models
    encoder: str  # name of a segmentation-models-pytorch encoder
    head_channels: Count
    aux_channels: Count
    weights: str  # random | imagenet | path of a local file with encoder weights


class Pair(Entry):
    """Which teacher teaches which student (params/models.yaml, section `pairs`)."""

    teacher: Name
    student: Name


class Scoring(BaseModel):
    """How images are looked at when they are scored (`scoring` of a recipe): unless said otherwise, whole and once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scales: list[Positive] = Field(default=[1.0], min_length=1)  # of the image; the mean of their softmax decides
    flip: bool = False  # each scale mirrored as well
    window: tuple[Count, Count] | None = None  # pixels (height, width) of a sliding window; none: the whole image
    stride: tuple[Count, Count] | None = None  # pixels between windows; none: as far as the window reaches
    short_side: Count | None = None  # pixels; images are resized to it, keeping their proportions; none: as they are
    long_side_at_most: Count | None = None  # pixels; smaller than `short_side` asks for, where it would be longer

    @model_validator(mode="after")
    def _goes_together(self) -> Scoring:
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales are {self.scales}; one is listed twice")
        if self.stride is not None and self.window is None:
            raise ValueError("stride is that of a window, and there is none; give window")
        if self.stride is not None and any(s > w for s, w in zip(self.stride, self.window or (), strict=True)):
            raise ValueError(f"stride {list(self.stride)} leaves gaps between windows of {list(self.window or ())}")
        if self.long_side_at_most is not None and self.short_side is None:
            raise ValueError("long_side_at_most bounds what short_side asks for; give short_side")
        return self


class Recipe(Entry):
    """How a network is trained (params/training.yaml: `<dataset>.shared` and one role, put together)."""

    batch: Annotated[int, Field(ge=2, strict=True)]  # images per iteration; batch norm of the pooled maps needs two
    crop: tuple[Count, Count]  # pixels (height, width)
    scale: tuple[Positive, Positive]  # random scale, uniform between
    flip: Share  # probability of a horizontal flip
    colour: list[dict[str, Any]]  # albumentations transforms by name with their arguments, in order
    lr: Positive  # at progress 0
    momentum: Share
    weight_decay: NonNegative
    poly_power: NonNegative  # lr = lr0 * (1 - progress) ** poly_power
    min_lr: NonNegative  # floor of the schedule
    aux_weight: NonNegative  # weight of the auxiliary cross-entropy
    class_weights: Literal["none", "sqrt-median-frequency"]
    precision: Literal["fp32", "bf16"]
    channels_last: bool
    threads: Count  # of the CPU, in the training process
    workers: Annotated[int, Field(ge=0, strict=True)]  # loader processes; 0: in the training process
    evaluations: Annotated[int, Field(ge=0, strict=True)]  # on the way, evenly spaced, off the clock
    checkpoint_every_s: Positive  # of train time; anchor-steps are measured then too
    iterations: Count | None = None  # teachers only: a student's number is planned
    # Students only, and left out of stamps where there are none: how many of `batch` are images without labels.
    unlabelled_per_batch: Annotated[int, Field(ge=0, strict=True)] = Field(0, exclude_if=_is_zero)
    scoring: Scoring = Scoring()  # off the clock, and no part of what a run depends on

    @model_validator(mode="after")
    def _ranges(self) -> Recipe:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; the first is the smaller one")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr is {self.min_lr}, above lr {self.lr}")
        if self.unlabelled_per_batch >= self.batch:
            raise ValueError(
                f"unlabelled_per_batch is {self.unlabelled_per_batch} of a batch of {self.batch}; leave one labelled image"
            )
        return self

    def epochs(self, iterations: int, images: Mapping[str, int]) -> dict[str, float]:
        """How often each of the `labelled` and of the `unlabelled` images is seen in that many iterations, on average."""
        each = {"labelled": self.batch - self.unlabelled_per_batch, "unlabelled": self.unlabelled_per_batch}
        return {kind: iterations * count / images[kind] if count else 0.0 for kind, count in each.items()}


class Method(Entry):
    """A method variant (params/methods.yaml): a file of src/isoclock/methods with its params and term weights."""

    method: Name
    implementation: Implementation  # `<entry>.tuned` and `<entry>.reference` name the other one where a method is named
    params: dict[str, Any]
    weights: dict[str, NonNegative]  # of each loss term; a term of weight 0 is not built
    weights_for: dict[Name, dict[str, NonNegative]] = {}  # other weights on a data set
    extras: list[Name] = []  # other entries whose terms are trained beside these, as official runs bundle them

    @model_validator(mode="after")
    def _terms_agree(self) -> Method:
        for dataset, weights in self.weights_for.items():
            unknown = sorted(set(weights) - set(self.weights))
            if unknown:
                raise ValueError(f"weights_for.{dataset}.{unknown[0]}: no such term under weights")
        return self

    def on(self, dataset: str) -> Method:
        """The variant as it is on a data set: its weights there, and no others."""
        return self.model_copy(
            update={"weights": {**self.weights, **self.weights_for.get(dataset, {})}, "weights_for": {}}
        )

    def active_terms(self) -> list[str]:
        """Names of the terms that have a weight, sorted."""
        return sorted(term for term, weight in self.weights.items() if weight > 0)


class Budget(Entry):
    """How long a student trains (params/budgets.yaml, section `budgets`).

    protocol `iteration`: every method runs `iterations`. protocol `compute`: every method gets the same anchor-steps, said
    either as `anchor_steps` or as what the method `yardstick` needs for `iterations`.
    """

    protocol: Literal["iteration", "compute"]
    iterations: Count | None = None
    anchor_steps: Positive | None = None
    yardstick: Name | None = None

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Budget:
        if self.protocol == "iteration":
            if self.iterations is None or self.anchor_steps is not None or self.yardstick is not None:
                raise ValueError("protocol iteration takes iterations, and nothing else")
        elif self.anchor_steps is not None:
            if self.iterations is not None or self.yardstick is not None:
                raise ValueError("anchor_steps and yardstick with iterations are two ways to say one thing; keep one")
        elif self.iterations is None or self.yardstick is None:
            raise ValueError("protocol compute takes anchor_steps, or yardstick with iterations")
        return self


class ProfileSettings(Entry):
    """How the cost of an iteration is measured (params/budgets.yaml, section `profile`)."""

    warmup_steps: Count
    windows: Annotated[int, Field(ge=3, strict=True)]
    steps_per_window: Count  # of the method, and as many of the anchor
    sustained_steps: Count
    max_spread: Positive  # interquartile range of the windows' ratios over their median
    max_data_share: Share  # of the step, waiting for data
    attempts: Count
    reaccept_within: Share  # a new ratio this close to the accepted one re-emits it


class Published(Entry):
    """A published score, for the cards of the methods and for reports (params/published.yaml); `provenance` names its source."""

    dataset: Name
    method: str  # as the source calls it
    method_name: Name | None = None  # the file of src/isoclock/methods that implements it; none: not implemented
    student: str
    undistilled: Positive | None = None  # mIoU in per cent of the same student without a teacher, in the same source
    miou: Positive | None = None  # per cent
    teacher: str
    teacher_miou: Positive | None = None  # per cent
    teacher_share: Share | None = None  # where the source gives no more
    recipe: str
    caveat: str
    in_report: bool = True  # false: in the cards of the methods only

    @property
    def share(self) -> float | None:
        """mIoU divided by the teacher's; None if unknown."""
        known = self.miou is not None and self.teacher_miou is not None
        return (self.miou or 0.0) / (self.teacher_miou or 1.0) if known else self.teacher_share

    @property
    def source(self) -> str:
        """Names of the sources, from the provenance."""
        return "; ".join(dict.fromkeys(text.removeprefix("published: ") for text in self.provenance.values()))


class GridBlock(BaseModel):
    """A full factorial block of cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: list[Name] = Field(min_length=1)
    pairs: list[Name] = Field(min_length=1)
    methods: list[Name] = Field(min_length=1)
    budgets: list[Name] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0, strict=True)]] = Field(min_length=1)

    @field_validator("datasets", "pairs", "methods", "budgets", "seeds")
    @classmethod
    def _no_twins(cls, values: list[Any]) -> list[Any]:
        twins = sorted({value for value in values if values.count(value) > 1})
        if twins:
            raise ValueError(f"{twins[0]} is listed twice")
        return values


class Grid(BaseModel):
    """Which cells to run (params/grids/NAME.yaml)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    study: bool  # a study refuses profiles that are marked noisy or input-bound
    blocks: list[GridBlock] = Field(min_length=1)


def _leaves(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path
