"""Networks of the package transformers: sizes of Swin, and what such a network starts from."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isoclock.errors import ArtifactError, ParamsError
from isoclock.models.card import architecture
from isoclock.models.class_order import class_order
from isoclock.models.encoders import RandomWeightsWarning
from isoclock.models.hub_weights import IMAGENET, RANDOM, hub_file
from isoclock.models.segmenter import Segmenter as Contract

SWIN: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], int]] = {
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 7),
    "base-384": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
    "micro": (8, (1, 1, 1, 1), (1, 2, 4, 8), 4),  # ours, for tests
}
"""Channels of the first stage, blocks and attention heads of each stage, and the side of a window."""

_FREE = ("drop", "label", "init", "torch", "dtype", "image_size", "version", "loss", "weight", "train", "ratio", "name_or_path",
         "architectures", "use_auxiliary", "output_", "return_dict", "encoder_stride", "ignore", "semantic", "chunk", "path_norm",
         "pooler", "problem_type", "reshape_last", "mlp")  # fmt: skip
"""Parts of names of settings that do not change what a trained network computes, or that the shapes of its tensors show."""


class HubSegmenter(Contract):
    """What networks of transformers have in common: `network`, of their class, and how its classes are put in order."""

    network: Any

    def reorder_classes(self, order: Sequence[int]) -> None:
        """Make output `order[k]` output k."""
        for name, parameter in self.network.named_parameters():
            if _is_classifier(name):
                parameter.data = _reordered(parameter.data, torch.tensor(order))


def swin_config(size: str) -> Any:
    """The encoder Swin (arXiv 2103.14030) of a size, which gives its four stages."""
    from transformers import SwinConfig

    width, depths, heads, window = SWIN[size]
    return SwinConfig(  # type: ignore[call-arg]  # out_features is one of the settings that every network takes
        embed_dim=width,
        depths=list(depths),
        num_heads=list(heads),
        window_size=window,
        drop_path_rate=0.3,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def without_final_norm(swin: Any) -> None:
    """Remove the norm behind Swin's last stage: a classifier's. As an encoder, Swin has one for each stage it gives."""
    swin.swin.layernorm = nn.Identity()


def build_network(
    network: Any, config: Any, weights: str | Path | None, name: str, encoder_type: str, **size: str
) -> tuple[Any, Path | None]:
    """The network of a class of transformers, in float32 and training mode, with random weights or a pretrained encoder.

    `weights` is that of a `Segmenter`; a path is that of a folder written by `save_pretrained`, with an encoder of type
    `encoder_type`. "imagenet" is what the architecture `name` states for the parameter `size`. Returns the file or folder that
    was read, too. Raises UserError if the hub is out of reach, ArtifactError if a folder is no such folder or holds another
    network.
    """
    built = network(config).train()
    if any(parameter.is_meta for parameter in built.parameters()):
        built.to(
            "meta"
        )  # Mask2Former makes a parameter with torch.Tensor(...), on the CPU even if the default device is another
    source = None
    if weights == RANDOM:
        warnings.warn(
            f"{network.__name__}: starts from random weights; for a study set `weights: imagenet` or give a folder",
            RandomWeightsWarning,
            stacklevel=3,
        )
    elif weights == IMAGENET:
        if (repository := architecture(name).repository(size)) is None:
            raise ParamsError("weights: imagenet: there are none for this size; set `weights: random`")
        source = hub_file(repository)
        _load_encoder(_encoder(built), source.parent)
    elif weights is not None:
        source = Path(weights)
        found = _config_of(source)["model_type"]
        if found != encoder_type or not is_encoder(source):
            raise ArtifactError(
                f"{weights}: contains a network of type {found!r}; `weights:` needs an encoder of type "
                f"{encoder_type!r}. A trained segmentation network is imported, so that its class names are compared"
            )
        _load_encoder(_encoder(built), source)
    return built, source


def is_encoder(folder: Path) -> bool:
    """Whether a folder that `save_pretrained` wrote has no segmentation network. Raises ArtifactError for another folder."""
    return not any("Segmentation" in kind for kind in _config_of(folder)["architectures"])


def folder_classes(folder: Path) -> list[str] | None:
    """Class names in the config.json of a folder that `save_pretrained` wrote, in the order of its outputs; None without names.

    LABEL_0, LABEL_1 ... are what transformers writes for classes without names. Raises ArtifactError for another folder.
    """
    labels = sorted(_config_of(folder)["id2label"].items(), key=lambda item: int(item[0]))
    names = [str(label) for _, label in labels]
    return None if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names


def load_folder(
    network: Any, folder: Path, classes: Sequence[str], named: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """Load a trained network that `save_pretrained` wrote into `network` (`Segmenter.network`); its rows in our class order.

    `named` are the names of its classes, where config.json has none. Returns them, and the names of the tensors that are not
    used. Raises ArtifactError if the folder holds another network, if a setting that changes its outputs differs, if a tensor
    is missing or left over, or if the class names differ from `classes`.
    """
    config, ours = _config_of(folder), network.config.to_dict()
    if config["model_type"] != ours["model_type"]:
        raise ArtifactError(
            f"{folder}: contains a {config['model_type']}, not a {ours['model_type']}; choose another model"
        )
    if (names := list(named or folder_classes(folder) or [])) == []:
        raise ArtifactError(
            f"{folder}: has no class names; list them in the order of its outputs as checkpoint.classes"
        )
    loaded, info = _from_pretrained(type(network), folder)
    if different := _differences(loaded.config.to_dict(), ours):
        raise ArtifactError(
            f"{folder}: config.json: {different[0]}; change the entry of the model in params/models.yaml"
        )
    wanted, missing = network.state_dict(), set(map(str, info["missing_keys"]))
    info["missing_keys"] = missing & wanted.keys()  # our network does without some norms
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            raise ArtifactError(
                f"{folder}: {kind.replace('_', ' ')}: {sorted(map(str, info[kind]))[0]}; save the network again"
            )
    if loaded.config.num_labels != len(names):
        raise ArtifactError(f"{folder}: has {loaded.config.num_labels} classes, of which {len(names)} have names")
    order = torch.tensor(class_order(names, classes, str(folder)))
    tensors: dict[str, Tensor] = {}
    for name, tensor in loaded.state_dict().items():
        if name in wanted:
            tensors[name] = _reordered(tensor, order) if _is_classifier(name) else tensor
    network.load_state_dict(tensors)
    return names, sorted(loaded.state_dict().keys() - wanted.keys() - missing)


def _reordered(tensor: Tensor, order: Tensor) -> Tensor:
    """Rows by class, in our order; rows beyond the classes ("no object") stay behind them."""
    return torch.cat([tensor[order], tensor[len(order) :]])


def _is_classifier(name: str) -> bool:
    return name.rpartition(".")[0].rpartition(".")[2] in ("classifier", "class_predictor")


def _encoder(network: Any) -> Any:
    """The part that a pretrained encoder is loaded into."""
    if hasattr(network, "segformer"):
        return network.segformer
    return network.backbone if hasattr(network, "backbone") else network.model.pixel_level_module.encoder


def _load_encoder(encoder: Any, source: Path) -> None:
    loaded, info = _from_pretrained(type(encoder), source, encoder.config)
    lacking = [name for name in info["missing_keys"] if "hidden_states_norms" not in name]
    if lacking or info.get("mismatched_keys"):
        raise ArtifactError(
            f"{source}: does not fit this encoder ({len(lacking)} tensors are missing); give one of its size"
        )
    encoder.load_state_dict(loaded.state_dict())


def _from_pretrained(kind: Any, source: Path, config: Any = None) -> tuple[Any, dict[str, Any]]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # it prints a table of what is missing, which our errors name
    extra = {} if config is None else {"config": config}
    try:
        return kind.from_pretrained(
            str(source), **extra, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ArtifactError(
            f"{source}: cannot be loaded ({reason}); give a folder that save_pretrained wrote"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _config_of(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder}: has no readable config.json; give a folder that save_pretrained wrote"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise ArtifactError(f"{folder}: config.json names no model_type; give a folder that save_pretrained wrote")
    return {"id2label": {}, "architectures": [], **content}


def _differences(theirs: Any, ours: Any, where: str = "") -> list[str]:
    """Settings of two configurations that change outputs and differ, one line each."""
    found = []
    for key in sorted(set(theirs) & set(ours)):
        if any(part in key for part in _FREE):
            continue
        one, other = theirs[key], ours[key]
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{where}{key}.")
        elif _plain(one) != _plain(other):
            found.append(f"{where}{key} is {one!r}, in this model {other!r}")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
