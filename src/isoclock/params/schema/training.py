"""Entries of params/models.yaml and params/training.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from isoclock.params.schema.base import Entry
from isoclock.schema import Count, Name, NonNegative, Positive, Share

Text = Annotated[str, Field(min_length=1)]
_NO_PATHS = ("random", "imagenet")  # of `weights`
TeacherInference = Literal["eager", "folded", "compiled"]


def _is_none(value: object) -> bool:
    return value is None


class Checkpoint(BaseModel):
    """A trained network from elsewhere (`checkpoint` of a model), which is imported as a teacher and not trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Text  # of a local file
    format: Name  # one of isoclock.models.checkpoint_formats
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of the file
    source: Text  # where the file is from
    licence: Text  # of the weights
    classes: list[Text] | None = Field(None, min_length=1)  # of its outputs, in order; None: those in the file


class Model(Entry):
    """A segmenter (params/models.yaml, section `models`)."""

    # For `isoclock fetch`. Stamps have the digest of the file itself, not these two.
    url: str | None = Field(
        None, pattern=r"^(https?|file)://\S+$", exclude_if=_is_none
    )  # of the weights file or checkpoint
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$", exclude_if=_is_none)  # of that file, or how it begins
    architecture: Name  # a file of src/isoclock/models, a plugin or an entry point
    params: dict[str, Any] = {}  # of the architecture, by the rules that its class states
    # What training starts from: a tag of timm | random | imagenet | path of a local file.
    weights: str | None = Field(None, exclude_if=_is_none)
    checkpoint: Checkpoint | None = Field(None, exclude_if=_is_none)  # in place of training

    @model_validator(mode="after")
    def _starts_from_one(self) -> Model:
        if (self.weights is None) == (self.checkpoint is None):
            raise ValueError("needs either weights, to start training from, or checkpoint, to import; give one")
        return self

    @property
    def local_weights(self) -> Path | None:
        """The file or folder that training starts from, if it is there; None for weights of other kinds."""
        if self.weights is None or self.weights in _NO_PATHS:
            return None
        path = Path(self.weights)
        return path if path.is_file() or path.is_dir() else None


class Pair(Entry):
    """A teacher and its student (params/models.yaml, section `pairs`)."""

    teacher: Name
    student: Name
    profile: Name = "study"  # the set of params/budgets.yaml with which costs are measured
    # In place of the recipe's, so that two pairs of the same networks can differ in it. None: the recipe's.
    teacher_inference: TeacherInference | None = Field(None, exclude_if=_is_none)


def _is_zero(value: object) -> bool:
    return value == 0


def _is_one(value: object) -> bool:
    return value == 1


def _is_default(value: object) -> bool:
    return value in ("anywhere", "labelled")


class Scoring(BaseModel):
    """How images are scored (`scoring` of a recipe). By default, whole images and one scale."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scales: list[Positive] = Field(default=[1.0], min_length=1)  # of the image; the softmax is averaged over them
    flip: bool = False  # also score each scale mirrored
    window: tuple[Count, Count] | None = None  # pixels (height, width) of a sliding window; none: the whole image
    stride: tuple[Count, Count] | None = None  # pixels between windows; none: the size of the window
    short_side: Count | None = None  # pixels; images are resized to it, keeping their aspect ratio; none: not resized
    long_side_at_most: Count | None = None  # pixels; an upper limit of the resized image

    @model_validator(mode="after")
    def _goes_together(self) -> Scoring:
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales are {self.scales}; one is listed twice, list it once")
        if self.stride is not None and self.window is None:
            raise ValueError("stride needs window; give window, or remove stride")
        if self.stride is not None and any(s > w for s, w in zip(self.stride, self.window or (), strict=True)):
            raise ValueError(f"stride {list(self.stride)} leaves gaps between windows of {list(self.window or ())}")
        if self.long_side_at_most is not None and self.short_side is None:
            raise ValueError("long_side_at_most needs short_side; give short_side, or remove it")
        return self


class Recipe(Entry):
    """How a network is trained (params/training.yaml: `<dataset>.shared` merged with one role)."""

    batch: Annotated[int, Field(ge=2, strict=True)]  # images per iteration; batch norm of pooled maps needs two
    crop: tuple[Count, Count]  # pixels (height, width)
    scale: tuple[Positive, Positive]  # random scale, uniform between
    flip: Share  # probability of a horizontal flip
    colour: list[dict[str, Any]]  # PhotoMetricDistortion and albumentations transforms with their arguments, in order
    # How else a crop is drawn (`CropRules`), and what the cross-entropy is divided by. Stamps leave out what is not given.
    scale_step: Positive | None = Field(
        None, exclude_if=_is_none
    )  # scales are multiples of it above the smallest; none: any
    short_side: Count | None = Field(None, exclude_if=_is_none)  # pixels; images are resized to it before the scale
    long_side_at_most: Count | None = Field(None, exclude_if=_is_none)  # pixels; an upper limit of the resized image
    cat_max_ratio: Annotated[Share, Field(gt=0)] = Field(1.0, exclude_if=_is_one)  # 1: crops are never drawn again
    padding: Literal["anywhere", "end"] = Field(
        "anywhere", exclude_if=_is_default
    )  # place of an image below the crop's size
    cross_entropy_over: Literal["labelled", "all"] = Field(
        "labelled", exclude_if=_is_default
    )  # pixels that it is a mean over
    lr: Positive  # at progress 0
    momentum: Share
    weight_decay: NonNegative
    poly_power: NonNegative  # lr = lr0 * (1 - progress) ** poly_power
    min_lr: NonNegative  # floor of the schedule
    aux_weight: NonNegative  # weight of the auxiliary cross-entropy, of networks that have such a head
    class_weights: Literal["none", "sqrt-median-frequency"]
    precision: Literal["fp32", "bf16", "fp16"]  # of the networks under autocast; fp16 with a gradient scaler
    loss_precision: Literal["autocast", "fp32"]  # products of the distillation losses: as the networks', or fp32
    matmul_precision: Literal["highest", "high"]  # of float32 products on a GPU; high: TF32
    cudnn_benchmark: bool  # let cuDNN try its algorithms and keep the fastest
    teacher_inference: TeacherInference  # how a student's teacher runs; its own training and scores do not depend on it
    compile: Literal["none", "default", "reduce-overhead"]  # mode of torch.compile, for networks and losses
    channels_last: bool
    threads: Count  # of the CPU, in the training process
    workers: Annotated[int, Field(ge=0, strict=True)]  # loader processes; 0: in the training process
    loader_timeout_s: Positive = 600.0  # wait for a batch before training ends; no result depends on it, and no stamp
    evaluations: Annotated[int, Field(ge=0, strict=True)]  # during training, evenly spaced, off the clock
    checkpoint_every_s: Positive  # of train time; anchor-steps are also measured then
    iterations: Count | None = None  # teachers only; those of a student are planned
    # Students only: how many of `batch` are images without labels. Stamps leave it out if it is 0.
    unlabelled_per_batch: Annotated[int, Field(ge=0, strict=True)] = Field(0, exclude_if=_is_zero)
    scoring: Scoring = Scoring()  # off the clock; weights do not depend on it

    @model_validator(mode="after")
    def _ranges(self) -> Recipe:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale is {list(self.scale)}; give the smaller number first")
        if self.scale_step is not None:
            steps = (self.scale[1] - self.scale[0]) / self.scale_step
            if abs(steps - round(steps)) > 1e-6:
                raise ValueError(f"scale_step {self.scale_step} does not lead from {self.scale[0]} to {self.scale[1]}")
        if self.long_side_at_most is not None and self.short_side is None:
            raise ValueError("long_side_at_most needs short_side; give short_side, or remove it")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr is {self.min_lr}, above lr {self.lr}")
        if self.unlabelled_per_batch >= self.batch:
            raise ValueError(
                f"unlabelled_per_batch is {self.unlabelled_per_batch} of a batch of {self.batch}; leave one labelled image"
            )
        return self

    def epochs(self, iterations: int, images: Mapping[str, int]) -> dict[str, float]:
        """How often each of the `labelled` and `unlabelled` images is seen in `iterations`, on average."""
        each = {"labelled": self.batch - self.unlabelled_per_batch, "unlabelled": self.unlabelled_per_batch}
        return {kind: iterations * count / images[kind] if count else 0.0 for kind, count in each.items()}
