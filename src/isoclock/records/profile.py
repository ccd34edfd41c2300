"""The cost profile of a method: what one training iteration takes, in anchor-steps and seconds."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from isoclock.methods.card import Implementation
from isoclock.records.document import Measured, Part
from isoclock.records.parts import Images, Number
from isoclock.schema import Count, NonNegative, Positive, Share, Unix


class Interval(Part):
    """Anchor-steps per iteration: the median ratio of the windows, and its 95 % bootstrap interval."""

    ratio: Positive
    low: Positive
    high: Positive

    @property
    def half_width(self) -> float:
        """Half the width of the interval, over the ratio."""
        return (self.high - self.low) / 2 / self.ratio


class Sensitivity(Interval):
    """The same method, with its losses in the other `loss_precision`. No plan reads it."""

    loss_precision: Literal["autocast", "fp32"]


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


class Range(Part):
    """Smallest, median and largest value of samples."""

    low: NonNegative
    median: NonNegative
    high: NonNegative


class GpuState(Part):
    """What NVML reported of the whole GPU while the method's steps were sustained."""

    samples: Count
    sm_clock_mhz: Range
    max_sm_clock_mhz: NonNegative | None  # that the GPU can have
    power_w: Range
    power_limit_w: NonNegative | None
    temperature_c: Range
    throttled: dict[str, Share]  # share of the samples in which the clock was lowered, by reason

    @property
    def reasons(self) -> str:
        """Why the clock was lowered, and how often; empty if it was not."""
        return ", ".join(f"{reason} {share:.0%} of the time" for reason, share in self.throttled.items())

    def in_words(self) -> str:
        """Clock, power, temperature and throttling in one line."""
        clock = f"{self.sm_clock_mhz.median:.0f} MHz"
        if self.max_sm_clock_mhz is not None:
            clock += f" of {self.max_sm_clock_mhz:.0f}"
        power = f"{self.power_w.median:.0f} W"
        if self.power_limit_w is not None:
            power += f" of {self.power_limit_w:.0f}"
        throttled = f"throttled: {self.reasons}" if self.reasons else "not throttled"
        return f"{clock}, {power}, {self.temperature_c.median:.0f} degrees C, {throttled}"


class ProfileDigests(Part):
    """SHA-256 of what a profile was measured with."""

    code: str
    data: str
    inputs: str  # recipe, networks, method and active terms


class Profile(Measured):
    """`results/profile/DATASET/PAIR/METHOD.json`, written by `isoclock profile`."""

    MADE_BY: ClassVar[str] = "profile {0.dataset} {0.pair} {0.method}"

    schema_: Literal[1] = Field(alias="schema")
    dataset: str
    pair: str
    method: str
    implementation: Implementation
    device_kind: str
    threads: Count
    precision: Literal["fp32", "bf16", "fp16"]
    loss_precision: Literal["autocast", "fp32"]
    matmul_precision: Literal["highest", "high"]
    cudnn_benchmark: bool
    teacher_inference: Literal["eager", "folded", "compiled"]
    compile: Literal["none", "default", "reduce-overhead"]
    batch: Count  # images per iteration
    unlabelled_per_batch: Number
    images: Images  # of the data set
    crop: tuple[Count, Count]  # pixels (height, width)
    cost: Interval
    sensitivity: Sensitivity | None  # None: `precision` is fp32, or the method has no loss of its own
    step_s: Quartiles
    anchor_s: Quartiles
    windows: list[Window]
    sustained_ratio: Positive  # of one long window
    shares: Shares
    loader_core_s: NonNegative  # CPU seconds of the loader processes per step
    loader_share: NonNegative | None  # of a step; None without loader processes
    pretrain: Pretraining | None
    peak_mib: NonNegative
    gflops: Gflops
    energy_j: NonNegative | None  # of a step: the whole GPU's; None on the CPU, and where a GPU does not count it
    gpu: GpuState | None  # None on the CPU, and without NVML
    marks: list[str]
    not_compiled: list[str]  # parts that `compile` of the recipe could not compile
    measured_unix: Unix
    environment: dict[str, str]
    digests: ProfileDigests

    @property
    def pretrain_anchor_steps(self) -> float:
        """Anchor-steps that the method spends before its first iteration."""
        return self.pretrain.iterations * self.pretrain.ratio if self.pretrain else 0.0
