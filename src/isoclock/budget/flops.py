"""Floating-point operations of a training step from shapes alone: nothing is computed, and neither data nor device are needed.

Networks and losses are run on torch's meta device, where a tensor has a shape and no values. As in a profile, products and
convolutions are counted and nothing else; a loss that looks at values cannot be counted, and the result says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from isoclock.budget.known_flops import StepFlops
from isoclock.methods import REFERENCE, build_method
from isoclock.methods.contract import Batch, Method
from isoclock.models.build import build_segmenter
from isoclock.models.card import architecture
from isoclock.models.outputs import AUX_LOGITS, LOGITS, ChannelSpec, SegmenterOutput
from isoclock.params.schema import MethodEntry, Model, Recipe, Scoring
from isoclock.scoring.views import boxes_of, view_sizes

META = torch.device("meta")
SAMPLES = 1000  # of a bank that has a row for each; no product grows with it where the loss is counted


@dataclass(frozen=True)
class _Pass:
    """One network's forward pass (and backward, where it learns): GFLOPs, and what it gave."""

    gflops: float
    output: SegmenterOutput
    channels: ChannelSpec


def forward_gflops(model: Model, num_classes: int, size: tuple[int, int]) -> float:
    """GFLOPs of the scores of one image of `size` (height, width), as in evaluation."""
    stride = max(architecture(model.architecture).strides(model.params).values())
    padded = (-(-size[0] // stride) * stride, -(-size[1] // stride) * stride)
    return _pass(model, num_classes, 1, padded, {LOGITS}, False).gflops


def scoring_gflops(model: Model, num_classes: int, size: tuple[int, int], scoring: Scoring) -> float:
    """GFLOPs of the scores of one image of `size` (height, width), looked at as often as `scoring` says."""
    passes = Counter(box[2:] for view in view_sizes(size, scoring) for box in boxes_of(view, scoring))
    once = sum(count * forward_gflops(model, num_classes, seen) for seen, count in passes.items())
    return once * (2 if scoring.flip else 1)


def network_gb(model: Model, num_classes: int) -> float:
    """GB of a network's weights file: its parameters and buffers, without the header."""
    with META:
        network = build_segmenter(model.architecture, num_classes, **model.params)
    return sum(tensor.nbytes for tensor in network.state_dict().values()) / 1e9


def training_gflops(recipe: Recipe, model: Model, num_classes: int) -> float:
    """GFLOPs of one iteration without a method: of a teacher, or an anchor-step."""
    return _learning(recipe, model, num_classes).gflops


def method_gflops(
    recipe: Recipe, student: Model, teacher: Model, method: Sequence[MethodEntry], num_classes: int
) -> StepFlops:
    """GFLOPs of one iteration of a variant and its extras, and of its pre-training."""
    anchor = _learning(recipe, student, num_classes)
    step, pretraining, whole = anchor.gflops, 0.0, True
    needs: set[str] = set()
    for part in method:
        if not part.active_terms():
            continue
        outputs = set(architecture(teacher.architecture).outputs)
        taught = _pass(teacher, num_classes, recipe.batch, recipe.crop, outputs, False)
        with META:
            built = build_method(
                part.method,
                student=anchor.channels,
                teacher=taught.channels,
                num_classes=num_classes,
                dataset_size=SAMPLES,
                implementation=REFERENCE,  # `tuned` works in blocks of values, and needs no more products
                active_terms=set(part.active_terms()),
                **part.params,
            )
        needs |= built.teacher_needs
        loss = _loss_gflops(built, recipe, anchor.output, taught.output)
        step, whole = step + (loss or 0.0), whole and loss is not None
        if built.pretrain_iterations:
            before = _pass(teacher, num_classes, recipe.batch, recipe.crop, built.pretrain_needs, False).gflops
            pretraining += built.pretrain_iterations * before
    if needs:
        step += _pass(teacher, num_classes, recipe.batch, recipe.crop, frozenset(needs), False).gflops
    return StepFlops(step, pretraining, whole)


def _learning(recipe: Recipe, model: Model, num_classes: int) -> _Pass:
    wanted = set(architecture(model.architecture).outputs) - (set() if recipe.aux_weight > 0 else {AUX_LOGITS})
    return _pass(model, num_classes, recipe.batch, recipe.crop, wanted, True)


def _loss_gflops(method: Method, recipe: Recipe, student: SegmenterOutput, teacher: SegmenterOutput) -> float | None:
    """GFLOPs of a method's terms, forward and backward; None where they look at values."""
    with META:
        images = recipe.batch
        batch = Batch(
            torch.empty(images, *recipe.crop, dtype=torch.int64),
            torch.empty(images, dtype=torch.int64),
            torch.empty(images, dtype=torch.bool),
        )
    features = {name: _leaf(feature) for name, feature in student.features.items()}
    asked = SegmenterOutput(_leaf(student.logits), _leaf(student.aux_logits), features)
    vars(method)["generator"] = lambda _device: None  # there is nothing to draw where there are no values
    try:
        with FlopCounterMode(display=False) as counter:
            terms = method(asked, teacher, batch)
            torch.stack(list(terms.values())).sum().backward()
    except (RuntimeError, NotImplementedError):
        return None
    return float(counter.get_total_flops() / 1e9)


def _leaf(output: Tensor | None) -> Any:
    return None if output is None else output.detach().requires_grad_()


def _pass(model: Model, num_classes: int, batch: int, size: tuple[int, int], wanted: Set[str], learns: bool) -> _Pass:
    params = tuple(sorted(model.params.items()))
    return _counted(model.architecture, params, num_classes, batch, size, frozenset(wanted), learns)


@cache
def _counted(
    name: str,
    params: tuple[tuple[str, Any], ...],
    num_classes: int,
    batch: int,
    size: tuple[int, int],
    wanted: frozenset[str],
    learns: bool,
) -> _Pass:
    with META:
        network = build_segmenter(name, num_classes, **dict(params))
        images = torch.empty(batch, 3, *size)
    network.train(learns)
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(learns):
        output: SegmenterOutput = network(images, wanted)
        if learns:
            scores = [logits for logits in (output.logits, output.aux_logits) if logits is not None]
            torch.stack([logits.sum() for logits in scores]).sum().backward()
    return _Pass(counter.get_total_flops() / 1e9, output, network.channels)
