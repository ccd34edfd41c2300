"""Whether the networks and methods of a grid can be built at all, found without memory for their weights and without data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch

from isoclock.errors import ParamsError, UserError
from isoclock.methods import build_method
from isoclock.models.build import build_segmenter
from isoclock.models.card import architecture

if TYPE_CHECKING:
    from isoclock.models.outputs import ChannelSpec
    from isoclock.models.segmenter import Segmenter
    from isoclock.params.load import Params
    from isoclock.params.schema import Model

CLASSES = 19  # no network depends on how many there are
SAMPLES = 1  # of banks, whose size follows the data set's
META = torch.device("meta")


def build_problems(params: Params, grids: Iterable[str]) -> list[str]:
    """What a node would find out too late, one line each: networks that cannot be built, methods that cannot be for their pair.

    An encoder does not exist, a network cannot compute the crop of the recipe, a parameter does not fit the channels.
    """
    problems: dict[str, None] = {}
    networks: dict[str, Segmenter] = {}
    specs: dict[tuple[str, tuple[int, int]], ChannelSpec | None] = {}

    def channels(name: str, crop: tuple[int, int]) -> ChannelSpec | None:
        if (name, crop) not in specs:
            specs[name, crop] = None
            try:
                specs[name, crop] = _channels(params.model(name), crop, networks)
            except UserError as error:
                file = params.folder / "models.yaml"
                problems.update(dict.fromkeys(f"{file}: models.{name}: {line}" for line in error.problems))
        return specs[name, crop]

    points = [(grid, *point) for grid in grids for point in _points(params, grid)]
    for grid_name, dataset, pair_name, method in points:
        pair, crop = params.pair(pair_name), params.recipe(dataset, "student").crop
        student, teacher = channels(pair.student, crop), channels(pair.teacher, crop)
        if student is None or teacher is None:
            continue
        for line in _method_problems(params, dataset, method, student, teacher):
            problems[f"{params.folder / 'grids' / grid_name}.yaml: method {method} with pair {pair_name}: {line}"] = (
                None
            )
    return list(problems)


def _points(params: Params, grid: str) -> Iterator[tuple[str, str, str]]:
    """(data set, pair, method) of a grid, each once."""
    blocks = params.grid(grid).blocks
    yield from dict.fromkeys(
        (dataset, pair, method)
        for block in blocks
        for dataset in block.datasets
        for pair in block.pairs
        for method in block.methods
    )


def _channels(model: Model, crop: tuple[int, int], networks: dict[str, Segmenter]) -> ChannelSpec:
    """Channels of a network that gives all its outputs for a crop. Raises ParamsError if it cannot be built, or not compute it.

    A network is built once: `networks` has those that were, without memory, by their entry.
    """
    key, wanted = model.model_dump_json(include={"architecture", "params"}), architecture(model.architecture).outputs
    for device, images in ((META, 2), (torch.device("cpu"), 1)):  # some layers need values: then on the CPU
        try:
            with device:
                network = networks.get(key) if device == META else None
                network = network or build_segmenter(model.architecture, CLASSES, **model.params).eval()
                batch = torch.empty(images, 3, *crop)
            with torch.no_grad():
                network(batch, wanted)
        except (UserError, RuntimeError, NotImplementedError, ValueError) as error:
            if device == META:
                continue
            if isinstance(error, UserError):
                raise
            first_line = str(error).strip().split("\n")[0]
            raise ParamsError(f"cannot compute a crop of {list(crop)} ({first_line}); choose another crop") from error
        if device == META:
            networks[key] = network
        return network.channels
    raise AssertionError("unreachable")


def _method_problems(
    params: Params, dataset: str, method: str, student: ChannelSpec, teacher: ChannelSpec
) -> Iterator[str]:
    for part in params.method_parts(method, dataset):
        try:
            with META:
                build_method(
                    part.method,
                    student=student,
                    teacher=teacher,
                    num_classes=CLASSES,
                    dataset_size=SAMPLES,
                    implementation=part.implementation,
                    active_terms=set(part.active_terms()),
                    **part.params,
                )
        except UserError as error:
            yield from error.problems
