"""Files of params/grids."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from isoclock.params.schema.base import Name


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
    def _no_duplicates(cls, values: list[Any]) -> list[Any]:
        duplicates = sorted({value for value in values if values.count(value) > 1})
        if duplicates:
            raise ValueError(f"{duplicates[0]} is listed twice; list it once")
        return values


class Grid(BaseModel):
    """Which cells to run (params/grids/NAME.yaml)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str
    study: bool  # a study refuses profiles that are marked noisy or input-bound
    blocks: list[GridBlock] = Field(min_length=1)
