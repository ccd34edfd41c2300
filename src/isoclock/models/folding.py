"""A teacher for inference: batch norms folded into the convolutions before them, weights in the type of the computation."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from isoclock.errors import UserError
from isoclock.models.outputs import AUX_LOGITS, LOGITS, SegmenterOutput
from isoclock.models.segmenter import Segmenter

PROBE = (2, 3, 64, 64)  # images on which the order of layers is observed
TOLERANCE = 1e-9  # of the largest value of an output, in float64


def folded(network: Segmenter, dtype: torch.dtype = torch.float32) -> Segmenter:
    """A copy for inference that gives the same outputs to rounding, in the same types under autocast to `dtype`.

    A batch norm is folded into a convolution if it is the only reader of the convolution's output; others stay. This is
    observed in a forward pass in float64, and the copy must give the same outputs there. Convolutions and linear layers
    then keep their weights in `dtype`, so that autocast does not cast them at every step; other layers are in float32.
    Raises UserError if an output differs.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False).double()
    probe = torch.randn(PROBE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    probe = probe.to(next(network.parameters()).device)
    pairs, expected = _pairs_and_outputs(network, probe)
    for convolution, norm in pairs:
        before, after = network.get_submodule(convolution), network.get_submodule(norm)
        assert isinstance(before, nn.Conv2d)
        assert isinstance(after, nn.BatchNorm2d)
        network.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        network.set_submodule(norm, _rest_of(after))
    for name, value in _outputs(network, probe).items():
        if (value - expected[name]).abs().max() > TOLERANCE * expected[name].abs().max():
            raise UserError(
                f"teacher_inference: {type(network).__name__}: {name} changes if batch norms are folded; use eager"
            )
    for layer in network.float().modules():
        if isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
            layer.to(dtype)
    return network


class _Readers(TorchDispatchMode):
    """Counts how many operators read each of some tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Tensor] = {}  # by id, which holds as long as the tensor lives
        self.counts: Counter[int] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts.update(id(leaf) for leaf in tree_leaves((args, kwargs)) if id(leaf) in self.watched)
        return func(*args, **(kwargs or {}))


def _pairs_and_outputs(network: Segmenter, images: Tensor) -> tuple[list[tuple[str, str]], dict[str, Tensor]]:
    """Names of convolutions and of the batch norms that alone read their outputs; and all outputs of the network."""
    readers, calls = _Readers(), Counter[str]()
    made_by: dict[int, str] = {}
    read_by: dict[int, str] = {}
    hooks = []

    def watch(name: str, layer: nn.Module) -> None:
        def after_convolution(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
            calls[name] += 1
            readers.watched[id(output)], made_by[id(output)] = output, name

        def before_norm(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            calls[name] += 1
            read_by[id(inputs[0])] = name

        if isinstance(layer, nn.Conv2d):
            hooks.append(layer.register_forward_hook(after_convolution))
        elif isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None:
            hooks.append(layer.register_forward_pre_hook(before_norm))

    for name, layer in network.named_modules():
        watch(name, layer)
    with readers:
        outputs = _outputs(network, images)
    for hook in hooks:
        hook.remove()
    returned = {id(value) for value in outputs.values()}
    found = [(made_by[key], norm, key) for key, norm in read_by.items() if key in made_by and key not in returned]
    pairs = [
        (convolution, norm)
        for convolution, norm, key in found
        if calls[convolution] == calls[norm] == readers.counts[key] == 1
    ]
    return pairs, outputs


def _outputs(network: Segmenter, images: Tensor) -> dict[str, Tensor]:
    names = {LOGITS, *network.taps, *([AUX_LOGITS] if network.auxiliary_head else [])}
    with torch.no_grad():
        output: SegmenterOutput = network(images, frozenset(names))
    return {name: value for name in sorted(names) if (value := output.get(name)) is not None}


def _rest_of(norm: nn.Module) -> nn.Module:
    """What a batch norm does after normalising: nothing, or the activation of timm's `BatchNormAct2d`."""
    parts = [getattr(norm, name) for name in ("drop", "act") if isinstance(getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*parts) if parts else nn.Identity()
