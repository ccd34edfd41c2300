"""The weights files that the networks of a grid start from or are imported from: whether they are here, and how to get them.

Imports no torch, unless a library has to build a network to fetch its weights.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoclock.errors import ArtifactError, UserError
from isoclock.files import sha256_file, sha256_path, written_atomically
from isoclock.models.card import architecture
from isoclock.models.hub_weights import IMAGENET, RANDOM, cached_file, hub_file, hub_name, smp_name

if TYPE_CHECKING:
    from isoclock.params.load import Params
    from isoclock.params.schema import Model

_WAIT_S = 60.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class WeightsFile:
    """A file or folder that a model of params/models.yaml needs.

    It is a local one with `path`, or one of the hub with `hub` (`isoclock.models.hub_weights` says how it is called); with
    neither, the model's library has it and knows where.
    `sha256` is its digest or how that begins, and `url` where it can be fetched, as far as the entry says.
    """

    place: str  # file and key in params/
    model: Model
    path: Path | None = None
    hub: str | None = None
    url: str | None = None
    sha256: str | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return str(
            self.path or (self.hub or "").partition("@")[0] or f"{self.model.weights} of {self.model.architecture}"
        )

    def problem(self, grid: str) -> str | None:
        """What is wrong if it is not here, or has another digest; None also where only the model's library can tell."""
        here = self._here()
        if here is None and (self.path or self.hub):
            how = f"`isoclock fetch {grid}`, where there is internet access, gets it"
            if self.path and not self.url:
                how = f"copy it there, or add its url for `isoclock fetch {grid}`"
            return f"{self.place}: {self.name}: not here; {how}"
        if here is None or not self.sha256 or sha256_path(here).startswith(self.sha256):
            return None
        return f"{self.place}: {self.name}: its SHA-256 does not begin with {self.sha256}; remove it, and `isoclock fetch {grid}`"

    def fetch(self) -> str:
        """Get it if it is not here, and return what was done. Raises UserError if it is out of reach or of another digest."""
        if self._here() is not None:
            return "here already"
        if self.hub:
            hub_file(self.hub)
            return "fetched from the hub"
        if self.path and self.url:
            self._download(self.path, self.url)
            return f"fetched from {self.url}"
        if self.path:
            raise ArtifactError(f"{self.place}: {self.name}: not here, and its entry has no url; copy it there")
        from isoclock.models.trained import new_segmenter

        new_segmenter(self.model, 2)  # its library keeps what it fetches
        return "fetched by its library"

    def _here(self) -> Path | None:
        if self.path:
            return self.path if self.path.exists() else None
        return cached_file(self.hub) if self.hub else None

    def _download(self, path: Path, url: str) -> None:
        with written_atomically(path) as temporary:
            try:
                with urllib.request.urlopen(url, timeout=_WAIT_S) as answer, temporary.open("wb") as file:
                    while block := answer.read(_BLOCK):
                        file.write(block)
            except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
                reason = getattr(error, "reason", error)
                raise UserError(
                    f"{self.place}: {url}: cannot be fetched ({reason}); copy the file to {path}"
                ) from error
            if self.sha256 and not (found := sha256_file(temporary)).startswith(self.sha256):
                raise ArtifactError(
                    f"{self.place}: {url}: has SHA-256 {found}, which does not begin with {self.sha256}; correct url or sha256"
                )


def weights_files(params: Params, grid: str) -> list[WeightsFile]:
    """The files of all networks of a grid, each once. Raises ParamsError for an unknown grid, or a tag of another encoder."""
    found: dict[Any, WeightsFile] = {}
    for name in _models_of(params, grid):
        for file in _files_of(params, name):
            found.setdefault(file.path or file.hub or name, file)
    return list(found.values())


def weights_files_problems(params: Params, grid: str) -> list[str]:
    """Weights files of a grid that are not here or have another digest, one line each."""
    return [problem for file in weights_files(params, grid) if (problem := file.problem(grid)) is not None]


def _models_of(params: Params, grid: str) -> list[str]:
    """Models of a grid, each once. A teacher that no method of its block reads is not among them."""
    names: dict[str, None] = {}
    for block in params.grid(grid).blocks:
        taught = any(params.has_teacher(method, dataset) for method in block.methods for dataset in block.datasets)
        for pair in map(params.pair, block.pairs):
            names |= dict.fromkeys((pair.teacher, pair.student) if taught else (pair.student,))
    return list(names)


def _files_of(params: Params, name: str) -> Iterator[WeightsFile]:
    model, file = params.model(name), params.folder / "models.yaml"
    if (checkpoint := model.checkpoint) is not None:  # an imported network starts from nothing else
        place = f"{file}: models.{name}.checkpoint"
        source = checkpoint.source  # an address, or in words
        url = model.url or (source if source.startswith("https://") and " " not in source else None)
        yield WeightsFile(place, model, Path(checkpoint.path), url=url, sha256=checkpoint.sha256)
        return
    place, encoder = f"{file}: models.{name}.weights", str(model.params.get("encoder", ""))
    if model.weights is None or model.weights == RANDOM:
        return
    if encoder.startswith("tu-"):
        hub = hub_name(encoder, model.weights)
    else:
        imagenet = model.weights == IMAGENET
        hub = architecture(model.architecture).repository(model.params) or smp_name(encoder) if imagenet else None
    if hub is not None or model.weights == IMAGENET:
        yield WeightsFile(place, model, hub=hub)
    else:
        yield WeightsFile(place, model, Path(model.weights), url=model.url, sha256=model.sha256)
