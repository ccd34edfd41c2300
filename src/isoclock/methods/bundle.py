"""Several methods trained together: official runs often combine a method with plain KD or an adversary."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.methods.contract import Batch, Method
from isoclock.models.outputs import SegmenterOutput


class Bundle(nn.Module):
    """A method and its extras with the interface of one `Method`: all terms, and the union of the needs.

    Term names must be distinct (`isoclock.params.check` checks this).
    """

    def __init__(self, parts: Sequence[Method]) -> None:
        """Raises ParamsError if more than one part has a pre-training: their order is undefined."""
        super().__init__()
        if len(trained := [part.card().name for part in parts if part.pretrain_iterations]) > 1:
            raise ParamsError(
                f"{trained[0]}: extras: {', '.join(trained[1:])} has a pre-training too; keep one of them"
            )
        self.parts = nn.ModuleList(parts)
        self.methods = tuple(parts)
        """The parts, the main method first."""
        self.student_needs: frozenset[str] = frozenset().union(*(part.student_needs for part in parts))
        """Outputs that any part reads of the student."""
        self.teacher_needs: frozenset[str] = frozenset().union(*(part.teacher_needs for part in parts))
        """Outputs that any part reads of the teacher."""

    @property
    def has_adversary(self) -> bool:
        """Whether any part has an adversary to train."""
        return any(part.has_adversary for part in self.methods)

    @property
    def pretrain_iterations(self) -> int:
        """Pre-training steps of the part that has any."""
        return sum(part.pretrain_iterations for part in self.methods)

    @property
    def pretrain_needs(self) -> frozenset[str]:
        """Outputs that the pre-training reads of the teacher."""
        return frozenset().union(*(part.pretrain_needs for part in self.methods))

    def forward(self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch) -> dict[str, Tensor]:
        """Unweighted terms of all parts."""
        return {name: value for part in self.methods for name, value in part(student, teacher, batch).items()}

    def adapters(self) -> list[nn.Parameter]:
        """Parameters that the student's optimiser trains."""
        return [parameter for part in self.methods for parameter in part.adapters()]

    def adversary_step(
        self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch, *, lr_factor: float
    ) -> dict[str, Tensor]:
        """One step of each part's adversary."""
        losses: dict[str, Tensor] = {}
        for part in self.methods:
            losses |= part.adversary_step(student, teacher, batch, lr_factor=lr_factor)
        return losses

    def pretrain_step(self, teacher: SegmenterOutput, batch: Batch, *, lr_factor: float) -> dict[str, Tensor]:
        """One pre-training step of the part that has one."""
        part = next(part for part in self.methods if part.pretrain_iterations)
        return part.pretrain_step(teacher, batch, lr_factor=lr_factor)

    def seed(self, seed: int) -> None:
        """Reset the random draws of every part, each to a seed of its own."""
        for number, part in enumerate(self.methods):
            part.seed(seed + 7919 * number)
