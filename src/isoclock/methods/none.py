"""No distillation: the student alone. This is the anchor that every other method's cost is measured against."""

from __future__ import annotations

from torch import Tensor

from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput


class NoDistillation(Method):
    """Adds no term and needs nothing, so that no teacher has to be loaded or run."""

    title = "no distillation"
    source = "baseline"
    terms = ()

    def compute(
        self,
        student: SegmenterOutput,  # noqa: ARG002
        teacher: SegmenterOutput,  # noqa: ARG002
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """No term at all."""
        return {}
