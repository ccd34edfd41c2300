"""Load a checkpoint of another toolbox into a network of ours, with its classes in the order of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from isoclock.errors import ArtifactError
from isoclock.models.checkpoint_formats import FORMATS, our_names
from isoclock.models.class_order import class_order
from isoclock.models.hub import load_folder
from isoclock.models.segmenter import Segmenter
from isoclock.models.tensor_files import TensorFile, read_tensors

_SHOWN = 3


@dataclass(frozen=True)
class Assigned:
    """Tensors of a file by our names, and the names in the file of those that a network does not have."""

    tensors: dict[str, Tensor]
    unused: list[str]
    problems: list[str]  # what keeps them from being the network's, one line each


def assign(file: TensorFile, form: str, architecture: str, network: Segmenter) -> Assigned:
    """The tensors of a file as the network's: each is used or listed in `unused`."""
    names, wanted = our_names(form, architecture, file.tensors), network.state_dict()
    used = {name: ours for name, ours in names.items() if ours in wanted}
    tensors = {ours: file.tensors[name] for name, ours in used.items()}
    problems = []
    if len(tensors) < len(used):
        problems.append("two of its tensors are one of the network's")
    # Files of torch before 0.4.1 do not count batches; nothing reads the count in evaluation.
    if missing := [name for name in wanted if name not in tensors and not name.endswith("num_batches_tracked")]:
        problems.append(f"lacks {len(missing)} of {len(wanted)} tensors ({', '.join(missing[:_SHOWN])} ...)")
    if unlike := [name for name in tensors if tensors[name].shape != wanted[name].shape]:
        name = unlike[0]
        shapes = f"{tuple(tensors[name].shape)}, in the network {tuple(wanted[name].shape)}"
        problems.append(f"{name} has shape {shapes} ({len(unlike)} such tensors)")
    return Assigned(tensors, sorted(set(file.tensors) - set(used)), problems)


def load_checkpoint(
    network: Segmenter,
    path: Path,
    form: str,
    architecture: str,
    classes: Sequence[str],
    named: Sequence[str] | None = None,
) -> tuple[list[str], list[str]]:
    """Load a file or folder of the format `form` into a network, its outputs in the order of `classes`.

    `named` are the names of its outputs, in its order; by default those that the file has. Returns them, and the names of the
    tensors that are not used. Raises ArtifactError if the file is missing or unreadable, lacks a tensor or has one of another
    shape, has no class names, or has others than `classes`.
    """
    if FORMATS[form].folder:
        hub_network: Any = network.network
        return load_folder(hub_network, path, classes, named)
    file = read_tensors(path)
    theirs = named or file.classes
    if theirs is None:
        raise ArtifactError(f"{path}: has no class names; list them in the order of its outputs as checkpoint.classes")
    order = class_order(list(theirs), list(classes), str(path))
    found = assign(file, form, architecture, network)
    if found.problems:
        raise ArtifactError(f"{path}: {'; '.join(found.problems)}; correct the model's params, or its format {form}")
    network.load_state_dict(found.tensors, strict=False)
    if order != list(range(len(order))):
        network.reorder_classes(order)
    return list(theirs), found.unused
