"""Entries of params/methods.yaml and params/published.yaml."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from isoclock.hints import choices
from isoclock.methods.card import Implementation
from isoclock.params.schema.base import Entry
from isoclock.schema import Name, NonNegative, Positive, Share


class MethodEntry(Entry):
    """A method variant (params/methods.yaml): a file of src/isoclock/methods with its params and term weights."""

    method: Name
    implementation: Implementation  # grids can name the other one: `<entry>.tuned` or `<entry>.reference`
    params: dict[str, Any]
    weights: dict[str, NonNegative]  # of each loss term; a term with weight 0 is not built
    weights_for: dict[Name, dict[str, NonNegative]] = {}  # by data set, where they differ
    extras: list[Name] = []  # other entries whose terms are added, as official runs combine them

    @model_validator(mode="after")
    def _terms_agree(self) -> MethodEntry:
        for dataset, weights in self.weights_for.items():
            unknown = sorted(set(weights) - set(self.weights))
            if unknown:
                raise ValueError(
                    f"weights_for.{dataset}.{unknown[0]}: unknown term; {choices(unknown[0], self.weights)}"
                )
        return self

    def on(self, dataset: str) -> MethodEntry:
        """The variant with its weights on a data set."""
        return self.model_copy(
            update={"weights": {**self.weights, **self.weights_for.get(dataset, {})}, "weights_for": {}}
        )

    def times(self, factor: float) -> MethodEntry:
        """The variant with the weights of its own terms times `factor`; those of its extras stay."""
        weights = {term: weight * factor for term, weight in self.weights.items()}
        return self if factor == 1 else self.model_copy(update={"weights": weights})

    def active_terms(self) -> list[str]:
        """Names of the terms with a weight above 0, sorted."""
        return sorted(term for term, weight in self.weights.items() if weight > 0)


class Published(Entry):
    """A published score, for the cards of the methods and for reports (params/published.yaml); `provenance` names its source."""

    dataset: Name
    method: str  # as the source calls it
    method_name: Name | None = None  # our name of it; none: not implemented
    student: str
    undistilled: Positive | None = None  # mIoU in per cent of the same student without a teacher, in the same source
    miou: Positive | None = None  # per cent
    teacher: str
    teacher_miou: Positive | None = None  # per cent
    teacher_share: Share | None = None  # if the source gives only the share
    recipe: str
    caveat: str
    in_report: bool = True  # false: in the cards of the methods only

    @property
    def share(self) -> float | None:
        """mIoU divided by the teacher's; None if unknown."""
        known = self.miou is not None and self.teacher_miou is not None
        return (self.miou or 0.0) / (self.teacher_miou or 1.0) if known else self.teacher_share

    @property
    def source(self) -> str:
        """Names of the sources, from the provenance."""
        return "; ".join(dict.fromkeys(text.removeprefix("published: ") for text in self.provenance.values()))
