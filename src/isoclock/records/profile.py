"""The cost profile of a method: what one training iteration takes, in anchor-steps and seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isoclock.methods.card import Implementation
from isoclock.records.document import Measured, Part
from isoclock.records.parts import Images, Number
from isoclock.schema import Count, NonNegative, Positive, Share


class Interval(Part):
    """Anchor-steps per iteration: the median ratio of the windows, and its 95 % bootstrap interval."""

    ratio: Positive
    low: Positive
    high: Positive


class Quartiles(Part):
    """Quartiles over the windows, seconds."""

    q25: Positive
    median: Positive
    q75: Positive


class Window(Part):
    """One window: seconds of an anchor step and of the method's step, and their ratio."""

    anchor_s: Positive
    step_s: Positive
    ratio: Positive


class Pretraining(Interval):
    """A method's steps before its first iteration: how many, and anchor-steps each."""

    iterations: Count


class Shares(Part):
    """How a step's time is divided among its phases."""

    data: Share
    teacher: Share
    student: Share
    loss: Share
    backward: Share
    optimiser: Share
    adversary: Share


class Gflops(Part):
    """Floating-point operations of a step by part, in 1e9."""

    teacher: NonNegative
    student: NonNegative
    loss: NonNegative
    backward: NonNegative
    total: NonNegative


class ProfileDigests(Part):
    """SHA-256 of what a profile was measured with."""

    code: str
    data: str
    inputs: str  # recipe, networks, method and active terms


class Profile(Measured):
    """`results/profile/DATASET/PAIR/METHOD.json`, written by `isoclock profile`."""

    schema_: Literal[1] = Field(alias="schema")
    dataset: str
    pair: str
    method: str
    implementation: Implementation
    device_kind: str
    threads: Count
    precision: Literal["fp32", "bf16"]
    teacher_inference: Literal["eager", "folded", "compiled"] = "eager"
    compile: Literal["none", "default", "reduce-overhead"] = "none"
    batch: Count  # images per iteration
    unlabelled_per_batch: Number
    images: Images  # of the data set
    crop: tuple[Count, Count]  # pixels (height, width)
    cost: Interval
    step_s: Quartiles
    anchor_s: Quartiles
    windows: list[Window]
    spread: NonNegative  # interquartile range of the windows' ratios over their median
    sustained_ratio: Positive
    shares: Shares
    loader_core_s: NonNegative  # CPU seconds of the loader processes per step
    loader_share: NonNegative | None  # of a step; None without loader processes
    pretrain: Pretraining | None
    peak_mib: NonNegative
    gflops: Gflops
    energy_j: NonNegative | None
    marks: list[str]
    not_compiled: list[str] = []  # parts that `compile` of the recipe could not compile
    attempts: Count
    measured_unix: NonNegative
    environment: dict[str, str]
    digests: ProfileDigests

    @property
    def pretrain_anchor_steps(self) -> float:
        """Anchor-steps that the method spends before its first iteration."""
        return self.pretrain.iterations * self.pretrain.ratio if self.pretrain else 0.0
