"""Entries of params/budgets.yaml, and files of params/grids and params/tuned."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from isoclock.params.schema.base import Entry
from isoclock.params.variants import is_exact
from isoclock.schema import Count, Name, NonNegative, OpenShare, Positive, Seed, Share


class Budget(Entry):
    """How long a student trains (params/budgets.yaml, section `budgets`).

    Protocol `iteration`: every method runs `iterations`. Protocol `compute`: every method gets the same anchor-steps, given
    either as `anchor_steps` or as what the method `yardstick` needs for `iterations`.
    """

    protocol: Literal["iteration", "compute"]
    iterations: Count | None = None
    anchor_steps: Positive | None = None
    yardstick: Name | None = None

    @model_validator(mode="after")
    def _keys_fit_the_protocol(self) -> Budget:
        if self.protocol == "iteration":
            if self.iterations is None or self.anchor_steps is not None or self.yardstick is not None:
                raise ValueError("protocol iteration needs iterations, and nothing else")
        elif self.anchor_steps is not None:
            if self.iterations is not None or self.yardstick is not None:
                raise ValueError("anchor_steps and yardstick with iterations are two ways to give one budget; keep one")
        elif self.iterations is None or self.yardstick is None:
            raise ValueError("protocol compute needs anchor_steps, or yardstick with iterations")
        return self


class ProfileSettings(Entry):
    """How the cost of an iteration is measured (a set in params/budgets.yaml, section `profile`)."""

    window_s: Positive  # of the method, and as long of the anchor; at least one step each
    min_windows: Annotated[int, Field(ge=3, strict=True)]
    half_width: Positive  # of the ratio's 95 % interval, over the ratio: windows go on until it is reached
    max_s: Positive  # of all windows together; after it the profile is marked noisy
    sustained_s: Positive
    max_data_share: Share  # of a step that waits for data
    reaccept_within: Share  # a new ratio this close to the accepted one keeps the accepted profile


class GridBlock(BaseModel):
    """A full factorial block of cells."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    datasets: list[Name] = Field(min_length=1)
    pairs: list[Name] = Field(min_length=1)
    methods: list[Name] = Field(min_length=1)
    budgets: list[Name] = Field(min_length=1)
    seeds: list[Seed] = Field(min_length=1)

    @field_validator("datasets", "pairs", "methods", "budgets", "seeds")
    @classmethod
    def _no_duplicates(cls, values: list[Any]) -> list[Any]:
        duplicates = sorted(value for value, times in Counter(values).items() if times > 1)
        if duplicates:
            raise ValueError(f"{duplicates[0]} is listed twice; list it once")
        return values


class Tuning(BaseModel):
    """How the weights of a grid's methods are chosen (`tune` of a grid, for `isoclock tune`).

    Every method gets a run of `budget` for each of `factors` and `seeds`, on a part of `train`. The rest is scored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: Name  # of each run; of protocol compute
    held_out: OpenShare  # share of `train` that is not trained on
    held_out_seed: Seed = 0  # selects it
    factors: list[Positive] = [0.25, 0.5, 1.0, 2.0, 4.0]  # of all weights of a method's own terms; of `none`: of lr
    seeds: list[Seed] = Field([0], min_length=1)  # of the runs

    @model_validator(mode="after")
    def _goes_into_names(self) -> Tuning:
        for key, values in (("factors", self.factors), ("seeds", self.seeds)):
            if len(set(values)) < len(values):
                raise ValueError(f"{key} are {values}; one is listed twice, list it once")
        if 1 not in self.factors or len(self.factors) < 2:
            raise ValueError(f"factors are {self.factors}; must be 1, which is the entry's own weight, and others")
        if wrong := [number for number in (self.held_out, *self.factors) if not is_exact(number)]:
            raise ValueError(f"{wrong[0]} cannot be part of a name; give at most six digits and no exponent")
        return self


class Grid(BaseModel):
    """Which cells to run (params/grids/NAME.yaml)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    study: bool  # a study refuses profiles that are marked noisy or input-bound
    # By data set and pair, 0..1: a teacher that scores less stops the grid before a profile or a student starts.
    teacher_miou_at_least: dict[Name, dict[Name, Share]] = {}
    blocks: list[GridBlock] = Field(min_length=1)
    weights: Literal["published", "tuned"] = "published"  # of the entries, or those that `isoclock tune` chose
    tune: Tuning | None = None

    @model_validator(mode="after")
    def _says_how_to_tune(self) -> Grid:
        if self.weights == "tuned" and self.tune is None:
            raise ValueError("weights: tuned needs tune, which says how they are chosen; add it, or remove weights")
        return self


class TunedWeights(Entry):
    """The weights of a method on a data set and pair, as `isoclock tune` chose them (params/tuned/GRID.yaml)."""

    factor: Positive  # the chosen one
    weights: dict[str, NonNegative]  # with that factor
    lr: Positive | None = None  # of `none`, with that factor
    miou: dict[str, Share | None]  # by factor (`x0.25`), on the images held out, mean over seeds; null: it diverged
    tune: Tuning  # of the grid, when the weights were chosen
    runs: Count  # of the whole sweep, and what they spent together:
    anchor_steps: NonNegative
    train_s: NonNegative  # on `device_kind`
    device_kind: str
