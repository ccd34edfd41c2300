"""Read the tensors of a .safetensors or .pth file, and the class names that toolboxes store with them. No code in it runs."""

from __future__ import annotations

import pickle
import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from isoclock.errors import ArtifactError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "model_state")
_PICKLES = 4  # of a file before torch 1.6: a number, a version, facts of the machine, the content; tensors follow
_PYTHON_3 = {"__builtin__": "builtins", "copy_reg": "copyreg"}


class Skipped(list[Any]):
    """Stands for an object of a class that is not read. It drops what it is given, and a state too."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None:
        pass


@dataclass(frozen=True)
class TensorFile:
    """Named tensors, on the CPU. `classes` are the names of the outputs, in order; None if the file does not say."""

    tensors: Mapping[str, Tensor]
    classes: tuple[str, ...] | None = None


def read_tensors(path: Path) -> TensorFile:
    """The tensors of a file, without the wrappers of toolboxes such as {"state_dict": ..., "meta": ...}.

    A pickle is read with torch's `weights_only`. Classes that this does not allow, such as those in mmcv's `meta`, are replaced
    by `Skipped`, never imported. Raises ArtifactError if the file is missing or unreadable, or if such an object is among the
    tensors.
    """
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; write the path of a weights file")
    try:
        content = _safetensors(path) if path.suffix == ".safetensors" else _unpickled(path)
    except Exception as error:  # safetensors, zipfile and pickle each raise their own
        pickled = isinstance(error, pickle.UnpicklingError)
        reason = _MORE_THAN_TENSORS if pickled else (str(error) or type(error).__name__).split("\n")[0]
        raise ArtifactError(f"{path}: cannot be read ({reason}); save it as .safetensors, tensors only") from error
    classes = _classes(content.get("meta")) if isinstance(content, Mapping) else None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise ArtifactError(
            f"{path}: contains a {type(content).__name__}, not named tensors; save the network's state_dict()"
        )
    if any(isinstance(value, Skipped) for value in content.values()):
        raise ArtifactError(f"{path}: cannot be read ({_MORE_THAN_TENSORS}); save it as .safetensors, tensors only")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ArtifactError(f"{path}: contains no tensors; save the network's state_dict()")
    return TensorFile(tensors, classes)


_MORE_THAN_TENSORS = "it contains more than tensors"


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _unpickled(path: Path) -> Any:
    skipped: list[Any] = [(Skipped, name) for name in _classes_named(path)]
    with torch.serialization.safe_globals(skipped):
        return torch.load(path, map_location="cpu", weights_only=True)


def _classes_named(path: Path) -> set[str]:
    """Full names of all classes and functions that a pickle refers to. torch's own allowed ones are looked up first."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [BytesIO(archive.read(name)) for name in archive.namelist() if name.endswith("/data.pkl")]
            return set().union(*(_globals(stream) for stream in pickles))
    with path.open("rb") as file:
        return set().union(*(_globals(file) for _ in range(_PICKLES)))


def _globals(stream: IO[bytes]) -> Iterable[str]:
    found = [argument for opcode, argument, _ in pickletools.genops(stream) if opcode.name == "GLOBAL"]
    parts = [str(argument).split(" ", 1) for argument in found]
    return {f"{_PYTHON_3.get(module, module)}.{name}" for module, name in parts}


def _classes(meta: Any) -> tuple[str, ...] | None:
    """Class names in `meta` of mmcv (CLASSES) or mmengine (dataset_meta.classes)."""
    if not isinstance(meta, Mapping):
        return None
    inner = meta.get("dataset_meta")
    found = meta.get("CLASSES") or (inner.get("classes") if isinstance(inner, Mapping) else None)
    if not isinstance(found, list | tuple) or not all(isinstance(name, str) for name in found):
        return None
    return tuple(found) or None
