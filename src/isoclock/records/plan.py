"""The accepted budget and the plan: how many iterations a method trains for."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from isoclock.records.document import Measured
from isoclock.records.parts import Epochs, Protocol
from isoclock.schema import Count, NonNegative, Positive


class AcceptedBudget(Measured):
    """`results/plan/DATASET/PAIR/accepted/BUDGET.json`, written by `isoclock plan DATASET PAIR BUDGET`."""

    MADE_BY: ClassVar[str] = "plan {0.dataset} {0.pair} {0.budget}"

    schema_: Literal[1] = Field(alias="schema")
    dataset: str
    pair: str
    budget: str
    protocol: Protocol
    iterations: Count | None  # of every method, or of the yardstick
    yardstick: str | None
    anchor_steps: Positive | None  # None under protocol iteration
    device_kind: str | None  # of the yardstick's profile; None: the same anchor-steps anywhere
    marks: list[str]  # of the yardstick's profile
    entry: str  # SHA-256 of what the budget was resolved from

    @model_validator(mode="after")
    def _has_an_amount(self) -> AcceptedBudget:
        if self.protocol == "iteration" and self.iterations is None:
            raise ValueError("iterations: missing, although protocol is iteration")
        if self.protocol == "compute" and self.anchor_steps is None:
            raise ValueError("anchor_steps: missing, although protocol is compute")
        return self


class Plan(Measured):
    """`results/plan/DATASET/PAIR/METHOD/BUDGET.json`, written by `isoclock plan DATASET PAIR BUDGET METHOD`."""

    MADE_BY: ClassVar[str] = "plan {0.dataset} {0.pair} {0.budget} {0.method}"

    schema_: Literal[2] = Field(alias="schema")
    dataset: str
    pair: str
    method: str
    budget: str
    protocol: Protocol
    iterations: Count
    epochs: Epochs
    cost_ratio: Positive  # anchor-steps per iteration
    pretrain_anchor_steps: NonNegative
    anchor_steps: Positive  # of all iterations and the pre-training
    anchor_s: Positive  # seconds of an anchor step in the profile
    planned_s: Positive
    device_kind: str
    budget_anchor_steps: Positive | None
    yardstick: str | None
    marks: list[str]  # of the profile
