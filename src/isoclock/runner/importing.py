"""What `isoclock import` prints of a checkpoint: its format, what the network uses of it, and the entry for models.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.facts import defaults
from isoclock.files import sha256_path
from isoclock.models.build import build_segmenter
from isoclock.models.card import architecture
from isoclock.models.checkpoint_formats import FORMATS, format_problems, formats_of, our_names
from isoclock.models.checkpoints import assign, load_checkpoint
from isoclock.models.encoder_weights import load_encoder_weights
from isoclock.models.hub import folder_classes, is_encoder
from isoclock.models.tensor_files import TensorFile, read_tensors

if TYPE_CHECKING:
    from isoclock.params.schema import Model

_CLASSIFIER = "classifier.1.weight"
_HEADS = ("decode_head.", "head.", "classifier.")  # that only a whole network has


def described(name: str, model: Model, path: Path, form: str | None = None, named: Sequence[str] | None = None) -> str:
    """A report about `path` as the network of the entry `name`, with the lines that import it or start from it.

    `path` is a file, or a folder that save_pretrained of transformers wrote. `named` are its classes, where it does not name
    them. Without `form`, it is the first format in which a file has all tensors of the network. Raises UserError for an
    unknown format; ArtifactError, with what does not fit, if it is neither a network nor an encoder of this entry; ParamsError
    if the entry's params are not those of the format's networks.
    """
    kind = model.architecture
    if form is not None and form not in formats_of(kind):
        raise UserError(f"--format {form}: not for {kind}; choose from {', '.join(formats_of(kind))}")
    if path.is_dir():
        return _folder_described(name, model, path, form, named)
    file = read_tensors(path)
    if form is None and _starts_encoder(model, path, file):
        return _encoder_entry(name, path)
    complaints = []
    for candidate in [form] if form else formats_of(kind):
        if FORMATS[candidate].folder:
            complaints.append(f"{candidate}: a folder that save_pretrained wrote, not a file")
            continue
        if not (count := _classes(file, candidate, kind) or len(named or file.classes or ())):
            complaints.append(f"{candidate}: no classifier")
            continue
        found = assign(file, candidate, kind, build_segmenter(kind, count, **model.params))
        if found.problems:
            complaints.append(f"{candidate}: {'; '.join(found.problems)}")
            continue
        given = defaults(architecture(kind).params) | model.params
        if wrong := format_problems(candidate, kind, given):
            raise ParamsError([f"params/models.yaml: models.{name}.{problem}" for problem in wrong])
        names = named or file.classes or ()
        return _entry(name, path, candidate, len(found.tensors), found.unused, count, names)
    raise ArtifactError(f"{path}: does not fit {name}: {' | '.join(complaints)}; correct the model's params")


def _folder_described(name: str, model: Model, path: Path, form: str | None, named: Sequence[str] | None) -> str:
    kind = model.architecture
    candidates = [known for known in formats_of(kind) if FORMATS[known].folder and form in (None, known)]
    if not candidates:
        raise ArtifactError(f"{path}: is a folder; a checkpoint of {kind} is a file, give its path")
    if form is None and is_encoder(path):
        build_segmenter(kind, 1, weights=path, **model.params)
        return _encoder_entry(name, path)
    classes = list(named or folder_classes(path) or [])
    network = build_segmenter(kind, max(1, len(classes)), **model.params)
    _, unused = load_checkpoint(network, path, candidates[0], kind, classes, classes)
    return _entry(name, path, candidates[0], len(network.state_dict()), unused, len(classes), classes)


def _encoder_entry(name: str, path: Path) -> str:
    lines = [f"{path}: a pretrained encoder of {name}, SHA-256 {sha256_path(path)}", "In params/models.yaml:"]
    return "\n".join([*lines, f"  {name}:", f"    weights: {path}"])


def _entry(
    name: str, path: Path, form: str, used: int, unused: Sequence[str], count: int, classes: Sequence[str]
) -> str:
    named = ", ".join(classes) or "not named; list them in order as checkpoint.classes"
    return "\n".join(
        [
            f"{path}: format {form}, {used} tensors used",
            f"not used: {', '.join(unused) or 'none'}",
            f"{count} classes: {named}",
            "In params/models.yaml, in place of weights:",
            f"  {name}:",
            "    checkpoint:",
            f"      path: {path}",
            f"      format: {form}",
            f'      sha256: "{sha256_path(path)}"',
            "      source: (where the file is from)",
            "      licence: (of the weights)",
        ]
    )


def _classes(file: TensorFile, form: str, kind: str) -> int:
    """Number of classes of a file, by the classifier that it has under the names of a format; 0 if it has none there."""
    names = {ours: name for name, ours in our_names(form, kind, file.tensors).items()}
    return len(file.tensors[names[_CLASSIFIER]]) if _CLASSIFIER in names else 0


def _starts_encoder(model: Model, path: Path, file: TensorFile) -> bool:
    """Whether a file is that of an encoder alone. Raises ArtifactError if it is one and does not fit the entry's."""
    if any(name.removeprefix("module.").startswith(_HEADS) for name in file.tensors):
        return False
    encoder = getattr(build_segmenter(model.architecture, 2, **model.params), "encoder", None)
    if encoder is None:
        return False
    load_encoder_weights(encoder.model, path)
    return True
