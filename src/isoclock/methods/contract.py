"""The contract of a distillation method: what training relies on, and what the file of a method defines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from isoclock.errors import ArtifactError, ParamsError
from isoclock.kernels.precision import in_loss_precision as in_loss_precision  # which methods use
from isoclock.methods.card import REFERENCE, Card, card_of
from isoclock.methods.resampling import on_grid_of
from isoclock.models.outputs import ChannelSpec, SegmenterOutput

Draw = Mapping[str, Tensor]
"""Named random tensors that one call uses."""


@dataclass(frozen=True)
class Batch:
    """What a method may use of the data.

    - target: (B, H, W) integer train ids, 255 = ignore (everywhere in unlabelled images). A term that reads labels must be
      0, with a gradient of 0, where there are none, and 0 instead of NaN if the whole batch has none.
    - index: (B,) int64 position of each sample in the training set.
    - labelled: (B,) bool, which samples carry labels.
    """

    target: Tensor
    index: Tensor
    labelled: Tensor


class Method(nn.Module, ABC):
    """A distillation method: maps the two networks' outputs to unweighted loss terms.

    A subclass states the facts below as literals (`isoclock.methods.card` reads them without torch), has its formula in
    its docstring, and implements `compute`. The student's optimiser trains its `adapters()`; its buffers are banks.

    Two things are optional. An adversary: `build` sets `adversary` and its optimiser, `adversary_step` trains it after
    the student's step. A pre-training: `build` sets `pretrained` and its optimiser, `pretrain_step` is called
    `pretrain_iterations` times before the student's first iteration, on the train clock and within the budget.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    terms: ClassVar[tuple[str, ...]]
    published: ClassVar[Mapping[str, str]] = {}
    params: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    implementations: ClassVar[tuple[str, ...]] = (REFERENCE,)
    reads: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(
        self,
        *,
        student: ChannelSpec,
        teacher: ChannelSpec,
        num_classes: int,
        dataset_size: int = 0,
        implementation: str = REFERENCE,
        active_terms: Set[str] | None = None,
        **params: Any,
    ) -> None:
        """Check all arguments; raises ParamsError with every problem. `active_terms` None means all terms."""
        super().__init__()
        active = None if active_terms is None else frozenset(active_terms)
        if problems := self.card().problems(params, implementation=implementation, active_terms=active):
            raise ParamsError(problems)
        self.student_channels = student
        self.teacher_channels = teacher
        self.num_classes = num_classes
        self.dataset_size = dataset_size
        self.implementation = implementation
        self.active_terms = frozenset(self.terms) if active is None else active
        self.settings = self.card().defaults() | params
        self.adversary: nn.Module | None = None
        self.pretrained: nn.Module | None = None
        self.optimisers: dict[str, torch.optim.Optimizer] = {}  # of those two; state_dict includes their state
        self._seed = 0
        self._generator: torch.Generator | None = None
        if self.active_terms:
            self.build()
        self._needs = self.needs()  # once: training asks at every step
        self.compiled: Compute | None = None  # what `forward` calls in place of `compute`: training may compile it

    @classmethod
    def card(cls) -> Card:
        """The facts of this method, as its file states them."""
        return card_of(cls)

    def build(self) -> None:
        """Create adapters and buffers of the active terms, of which there is at least one; `settings` and channels are set."""

    @property
    def methods(self) -> tuple[Method, ...]:
        """This method: a `Bundle` has several."""
        return (self,)

    @property
    def student_needs(self) -> frozenset[str]:
        """Outputs (logits, aux_logits, backbone, head) that the active terms read of the student."""
        return self._needs

    @property
    def teacher_needs(self) -> frozenset[str]:
        """Outputs that the active terms read of the teacher; if empty, no teacher has to run."""
        return self._needs

    def needs(self) -> frozenset[str]:
        """Outputs that the active terms read of both networks: what the class states under `reads`."""
        return self.card().outputs_read(self.settings, self.active_terms)

    def draw(self, student: SegmenterOutput, batch: Batch) -> Draw:  # noqa: ARG002
        """Fresh random tensors for one call, from `self.generator`; both implementations use them identically."""
        return {}

    @abstractmethod
    def compute(
        self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch, draw: Draw
    ) -> dict[str, Tensor]:
        """The active terms, at least one, unweighted, as scalars. Teacher tensors are already detached."""

    def forward(
        self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch, *, draw: Draw | None = None
    ) -> dict[str, Tensor]:
        """Unweighted terms, one scalar for each active term: float32, or float64 if the inputs are.

        The teacher's maps are resampled where they differ from the student's in size (`isoclock.methods.resampling`).
        `draw` replaces the random tensors. Raises ParamsError if an output is missing.
        """
        if not self.active_terms:
            return {}
        self._check_outputs(student, teacher)
        teacher = on_grid_of(student, detached(teacher))
        compute = self.compiled or self.compute
        return compute(student, teacher, batch, self.draw(student, batch) if draw is None else draw)

    def adapters(self) -> list[nn.Parameter]:
        """Parameters that the student's optimiser trains: all except the adversary's and the pre-trained ones."""
        apart = [module for module in (self.adversary, self.pretrained) if module is not None]
        others = {id(parameter) for module in apart for parameter in module.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in others]

    @property
    def has_adversary(self) -> bool:
        """Whether `adversary_step` has anything to train."""
        return self.adversary is not None

    def adversary_step(
        self,
        student: SegmenterOutput,  # noqa: ARG002
        teacher: SegmenterOutput,  # noqa: ARG002
        batch: Batch,  # noqa: ARG002
        *,
        lr_factor: float,  # noqa: ARG002
        draw: Draw | None = None,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """One step of the adversary's own optimiser, after the student's; returns its losses, detached.

        Called with the outputs of the same iteration, under the same autocast as `forward`, but never under fp16's:
        its own backward pass is not scaled. `lr_factor` is the student's learning rate over its initial one, for an
        adversary that follows the schedule.
        """
        return {}

    @property
    def pretrain_iterations(self) -> int:
        """How many pre-training steps come before the student's first iteration."""
        return 0

    @property
    def pretrain_needs(self) -> frozenset[str]:
        """Outputs that a pre-training step reads of the teacher."""
        return frozenset()

    def pretrain_step(self, teacher: SegmenterOutput, batch: Batch, *, lr_factor: float) -> dict[str, Tensor]:
        """One pre-training step, its optimiser included; returns its losses, detached. `lr_factor` falls from 1 to 0."""
        raise NotImplementedError(f"{self.card().name} has no pre-training")

    def seed(self, seed: int) -> None:
        """Reset the method's random draws to `seed`."""
        self._seed = seed
        self._generator = None

    def generator(self, device: torch.device) -> torch.Generator:
        """The method's own generator, on the device of its inputs: draws on the host would delay an accelerator."""
        if self._generator is None:
            self._generator = torch.Generator(device).manual_seed(self._seed)
        elif self._generator.device.type != device.type:
            raise ArtifactError(
                f"{self.card().name}: the run was started on {self._generator.device.type}, but this is {device.type};"
                " resume on the same kind of device"
            )
        return self._generator

    def get_extra_state(self) -> dict[str, Any]:
        """State of the random draws and own optimisers, so that a resumed run continues identically."""
        generator = self._generator
        return {
            "seed": self._seed,
            "device": None if generator is None else generator.device.type,
            "generator": None if generator is None else generator.get_state(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore draws and optimisers from `get_extra_state`."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.seed(state["seed"])
        if state["device"] is not None:
            self._generator = torch.Generator(state["device"])
            self._generator.set_state(state["generator"].cpu())

    def _check_outputs(self, student: SegmenterOutput, teacher: SegmenterOutput) -> None:
        for whose, output, needs in (
            ("student", student, self.student_needs),
            ("teacher", teacher, self.teacher_needs),
        ):
            if absent := sorted(need for need in needs if output.get(need) is None):
                raise ParamsError(
                    f"{self.card().name}: the {whose} did not return {', '.join(absent)}; request all of `{whose}_needs`"
                )


Compute = Callable[[SegmenterOutput, SegmenterOutput, Batch, Draw], dict[str, Tensor]]
"""The signature of `Method.compute`."""


def detached(output: SegmenterOutput) -> SegmenterOutput:
    """The same tensors, detached."""
    return SegmenterOutput(
        None if output.logits is None else output.logits.detach(),
        None if output.aux_logits is None else output.aux_logits.detach(),
        {name: feature.detach() for name, feature in output.features.items()},
    )
