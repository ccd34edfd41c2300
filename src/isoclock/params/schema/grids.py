"""Entries of params/budgets.yaml and files of params/grids."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from isoclock.params.schema.base import Entry
from isoclock.schema import Count, Name, Positive, Seed, Share


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


class Grid(BaseModel):
    """Which cells to run (params/grids/NAME.yaml)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    study: bool  # a study refuses profiles that are marked noisy or input-bound
    # By data set and pair, 0..1: a teacher that scores less stops the grid before a profile or a student starts.
    teacher_miou_at_least: dict[Name, dict[Name, Share]] = {}
    blocks: list[GridBlock] = Field(min_length=1)
