"""Names of the weights that a network starts from, and their files in the cache of the Hugging Face hub.

A file is called by timm's name (resnet18.tv_in1k), or by its repository on the hub (microsoft/swin-tiny-patch4-window7-224), with
`@revision` where that is fixed. Imports no torch before a file of timm or segmentation-models-pytorch is looked for.
"""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from pathlib import Path

from isoclock.errors import ParamsError, UserError
from isoclock.hints import choices

RANDOM = "random"
IMAGENET = "imagenet"
_FILES = ("model.safetensors", "pytorch_model.bin")  # of a repository of the hub, in the order in which timm looks
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_PROBE_S = 5.0
_WITHOUT_HUB = (
    "fetch it once on a machine with internet access and copy the cache (HF_HOME), or set `weights:` to a local .safetensors"
    " or .pth file of the encoder (of transformers: a folder that save_pretrained wrote), or `weights: random`"
)


def is_tag(weights: str) -> bool:
    """Whether `weights` is a full tag of timm, such as resnet18.tv_in1k, and not a path, `random` or `imagenet`."""
    return "." in weights and "/" not in weights and not weights.endswith(_SUFFIXES)


def hub_name(encoder: str, weights: str) -> str | None:
    """timm's name of the weights that `encoder` (tu-NAME) starts from; None for random weights and local files.

    Raises ParamsError for a tag of another encoder.
    """
    name = encoder.removeprefix("tu-")
    if weights == IMAGENET:
        return name
    if not is_tag(weights):
        return None
    if weights.partition(".")[0] != name.partition(".")[0]:
        raise ParamsError(f"weights: {weights!r}: not a tag of encoder {encoder}; choose one that starts with {name}.")
    return weights


def smp_name(encoder: str) -> str | None:
    """Repository and revision of the ImageNet weights of an encoder of segmentation-models-pytorch; None if it has none."""
    from segmentation_models_pytorch.encoders import encoders

    known = encoders.get(encoder, {}).get("pretrained_settings", {}).get(IMAGENET)
    return None if known is None else f"{known['repo_id']}@{known['revision']}"


def cached_file(name: str) -> Path | None:
    """The file of weights called `name` in the local cache; None if it is not there.

    Raises ParamsError if timm does not have such weights.
    """
    from huggingface_hub import try_to_load_from_cache

    repository, revision = _repository(name)
    for file in _FILES:
        if isinstance(found := try_to_load_from_cache(repository, file, None, revision), str):
            return Path(found)
    return None


def hub_file(name: str) -> Path:
    """The file of weights called `name` (of timm: a full tag, or a model for its default tag), fetched if it is not in the cache.

    Raises ParamsError if timm does not have such weights, UserError within seconds if the hub is out of reach: its own
    client retries for 47 s (measured).
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if (found := cached_file(name)) is not None:
        return found
    if constants.HF_HUB_OFFLINE or not _reachable(os.environ.get("HF_ENDPOINT", constants.ENDPOINT)):
        raise UserError(f"weights: {name} is not in the cache and {constants.ENDPOINT} is out of reach; {_WITHOUT_HUB}")
    repository, revision = _repository(name)
    try:
        try:
            return Path(hf_hub_download(repository, _FILES[0], revision=revision))
        except EntryNotFoundError:
            return Path(hf_hub_download(repository, _FILES[1], revision=revision))
    except OSError as error:
        first_line = str(error).strip().split("\n")[0]
        raise UserError(f"weights: {name} could not be fetched ({first_line}); {_WITHOUT_HUB}") from error


def _repository(name: str) -> tuple[str, str | None]:
    """Repository and revision; None is the newest."""
    if "/" in name:
        repository, _, fixed = name.partition("@")
        return repository, fixed or None
    import timm

    model = name.partition(".")[0]
    if not timm.is_model(model):
        raise ParamsError(f"encoder: 'tu-{model}': timm has no model {model!r}; `timm.list_models()` lists them")
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:
        tags = choices(name, timm.list_pretrained(f"{model}.*"))
        raise ParamsError(f"weights: {name!r}: timm has no such weights of {model}; {tags}") from None
    if config is None or not config.has_weights or not config.hf_hub_id:
        raise ParamsError(f"weights: timm has none for {name!r}; give a local file, or set `weights: random`")
    return str(config.hf_hub_id), None


def _reachable(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_S).close()
    except urllib.error.HTTPError:
        return True  # an error status is an answer
    except OSError:
        return False
    return True
