"""Entries of params/published.yaml."""

from __future__ import annotations

from isoclock.params.schema.base import Entry, Name, Positive, Share


class Published(Entry):
    """A published score, for the cards of the methods and for reports (params/published.yaml); `provenance` names its source."""

    dataset: Name
    method: str  # as the source calls it
    student: str
    undistilled: Positive | None = None  # mIoU in per cent of the same student without a teacher, in the same source
    miou: Positive | None = None  # per cent
    teacher: str
    teacher_miou: Positive | None = None  # per cent
    teacher_share: Share | None = None  # if the source gives only the share
    recipe: str
    caveat: str

    @property
    def share(self) -> float | None:
        """mIoU divided by the teacher's; None if unknown."""
        known = self.miou is not None and self.teacher_miou is not None
        return (self.miou or 0.0) / (self.teacher_miou or 1.0) if known else self.teacher_share

    @property
    def source(self) -> str:
        """Names of the sources, from the provenance."""
        return "; ".join(dict.fromkeys(text.removeprefix("published: ") for text in self.provenance.values()))
