from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterable
from multiprocessing import resource_sharer
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoclock.data.loading import stream as stream_module
from isoclock.data.loading.ahead import CopiedAhead
from isoclock.data.loading.augment import CropRules
from isoclock.data.loading.batches import Batches, sample_at
from isoclock.data.loading.stream import TrainingStream, whole_images
from isoclock.data.loading.workers import silence_lost_connections
from isoclock.data.packing.packed import PackedSplit

COLOUR = [{"transform": "Normalize"}]


def stream(split: PackedSplit, **changes: object) -> TrainingStream:
    arguments: dict = {"seed": 1, "batch": 4, "crop": (32, 48), "scale": (0.5, 2.0), "flip": 0.5, "colour": COLOUR}
    return TrainingStream(split, **{**arguments, "iterations": 5, **changes})


def assert_same(ones: Iterable[dict], others: Iterable[dict]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, other[key]), key


def test_batches_have_the_documented_shapes(train_split: PackedSplit) -> None:
    batches = list(stream(train_split))
    assert len(batches) == 5
    for batch in batches:
        assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
            "images": ((4, 3, 32, 48), torch.uint8),
            "target": ((4, 32, 48), torch.uint8),
            "index": ((4,), torch.int64),
            "labelled": ((4,), torch.bool),
        }
        assert batch["images"].is_contiguous(memory_format=torch.channels_last)
        assert batch["labelled"].all()
        assert set(batch["target"].unique().tolist()) <= {*range(19), 255}


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_workers(train_split: PackedSplit, workers: int) -> None:
    assert_same(stream(train_split), stream(train_split, workers=workers))


def test_batches_do_not_depend_on_workers_with_colour(train_split: PackedSplit) -> None:
    colour = [{"transform": "ColorJitter", "p": 0.9}, *COLOUR]
    assert_same(stream(train_split, colour=colour), stream(train_split, colour=colour, workers=2))


def test_batches_do_not_depend_on_workers_or_a_stop_with_the_augmentation_of_mmsegmentation(
    train_split: PackedSplit,
) -> None:
    rules = CropRules(short_side=48, cat_max_ratio=0.5, padding="end")
    changes = {"colour": [{"transform": "PhotoMetricDistortion"}, *COLOUR], "rules": rules}
    whole = list(stream(train_split, **changes))
    assert_same(whole, stream(train_split, **changes, workers=2))
    assert_same(whole[3:], stream(train_split, **changes, start_iteration=3, iterations=2))


def test_a_resumed_stream_continues_where_the_first_stopped(train_split: PackedSplit) -> None:
    whole = list(stream(train_split))
    assert_same(whole[3:], stream(train_split, start_iteration=3, iterations=2))
    assert_same(whole[3:], stream(train_split, start_iteration=3, iterations=2, workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_in_use_are_not_overwritten(train_split: PackedSplit, workers: int) -> None:
    kept = [
        (made, {key: value.clone() for key, value in made.items()}) for made in stream(train_split, workers=workers)
    ]
    assert_same(*zip(*kept, strict=True))


def test_memory_of_released_batches_is_reused(train_split: PackedSplit) -> None:
    iterator = stream(train_split, iterations=20)
    places = set()
    for made in iterator:
        part = made["images"][1:, :1]  # a view keeps the memory, as the batch does
        places.add(made["images"].data_ptr())
        assert part.data_ptr() != made["images"].data_ptr()
    assert len(places) <= 2  # one is made while the previous one is still in use


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_of_a_worker_is_flat_over_10000_samples(train_split: PackedSplit) -> None:
    before = set(torch.multiprocessing.active_children())
    iterator = iter(stream(train_split, batch=20, iterations=500, workers=1))
    next(iterator)
    (worker,) = set(torch.multiprocessing.active_children()) - before
    resident = []
    for number, _ in enumerate(iterator, start=2):
        if number % 100 == 0:
            pages = int(Path(f"/proc/{worker.pid}/statm").read_text().split()[1])
            resident.append(pages * resource.getpagesize())
    assert len(resident) == 5
    # After the first 2,000 samples memory is constant; leaking the pixels of one sample in a hundred would be 500 KB.
    assert resident[-1] - resident[0] < 500_000


def test_seeds_differ(train_split: PackedSplit) -> None:
    one, other = next(iter(stream(train_split))), next(iter(stream(train_split, seed=2)))
    assert not torch.equal(one["images"], other["images"])


def test_loading_does_not_use_the_global_generator(train_split: PackedSplit) -> None:
    before = torch.get_rng_state()
    for workers in (0, 1):
        next(iter(stream(train_split, workers=workers)))
    assert torch.equal(before, torch.get_rng_state())


def test_order_is_a_sequence_of_shuffles() -> None:
    drawn = [sample_at(7, number, 10) for number in range(40)]
    epochs = [drawn[at : at + 10] for at in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert [sample_at(7, number, 10) for number in reversed(range(40))][::-1] == drawn


@pytest.mark.parametrize("workers", [0, 1])
def test_an_endless_stream_can_be_closed(train_split: PackedSplit, workers: int) -> None:
    endless = stream(train_split, iterations=None, workers=workers)
    for _ in range(12):
        next(endless)
    assert endless.wait_s > 0
    assert endless.loader_core_s > 0
    endless.close()
    assert list(endless) == []


def test_workers_ignore_the_signals_that_stop_training(train_split: PackedSplit) -> None:
    iterator = iter(stream(train_split, workers=1, iterations=30))
    next(iterator)
    children = [int(child.pid) for child in torch.multiprocessing.active_children()]
    assert children
    for child in children:
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
    assert len(list(iterator)) == 29


def test_a_killed_loader_is_reported_although_its_connection_closes_first(
    train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Batches.__getitem__

    def last_one(batches: Batches, number: int) -> dict[str, Any]:
        batch = made(batches, number)
        if number == 2:  # like a killed process, but slower: sockets close first
            resource_sharer._resource_sharer._listener.close()
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return batch

    monkeypatch.setattr(Batches, "__getitem__", last_one)
    before = set(torch.multiprocessing.active_children())
    iterator = iter(stream(train_split, workers=1, iterations=30))
    (loader,) = set(torch.multiprocessing.active_children()) - before
    with pytest.raises(RuntimeError, match=rf"DataLoader worker \(pid(\(s\))? {loader.pid}\)"):
        list(iterator)


def test_only_a_lost_connection_of_the_pinning_thread_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = []
    monkeypatch.setattr(threading, "excepthook", lambda error: printed.append(error.exc_type))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # to restore it
    silence_lost_connections.__wrapped__()

    def fails(error: Exception) -> None:
        raise error

    def _pin_memory_loop(error: Exception) -> None:
        raise error

    for work, error in ((_pin_memory_loop, EOFError()), (_pin_memory_loop, ValueError()), (fails, EOFError())):
        thread = threading.Thread(target=work, args=(error,))
        thread.start()
        thread.join()
    assert printed == [ValueError, EOFError]


def hang_up(address: str, *, after: int = 1) -> None:
    """Connect to a process that serves file descriptors, and hang up after so many bytes of its challenge."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.recv(after)


def test_only_a_connection_that_is_hung_up_is_silent_in_the_thread_that_serves_descriptors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    printed = []
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # to restore it
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: printed.append(kind))
    reader, writer = os.pipe()
    offered = resource_sharer.DupFd(writer)
    address, key = offered._id
    silence_lost_connections.__wrapped__()
    hang_up(address)
    with Client(address, authkey=multiprocessing.current_process().authkey) as connection:
        connection.send((key + 1, os.getpid()))
        with pytest.raises(EOFError):
            connection.recv()
    os.close(offered.detach())  # it still serves, and has dealt with all that came before
    assert printed == [KeyError]
    os.close(reader)
    os.close(writer)


def test_a_loader_process_prints_nothing_when_the_training_process_hangs_up(
    train_split: PackedSplit, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # A process that has served descriptors itself passes its folder on to its children.
    monkeypatch.delitem(multiprocessing.current_process()._config, "tempdir", raising=False)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        iterator = iter(stream(train_split, workers=1, iterations=30))
        next(iterator)
        (address,) = Path(folder).glob("*/listener-*")
        hang_up(str(address))
        assert len(list(iterator)) == 29
        del iterator
    assert capfd.readouterr().err == ""


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each tensor of the loading code was asked for in pinned memory; without a GPU there is none to give."""
    asked = []
    empty = torch.empty

    def unpinned(*shape: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        asked.append(pin_memory)
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", unpinned)
    monkeypatch.setattr(stream_module, "CopiedAhead", lambda source, _: CopiedAhead(source, torch.device("cpu")))
    return asked


def test_batches_for_a_gpu_are_made_in_pinned_memory(train_split: PackedSplit, pinned: list[bool]) -> None:
    expected = list(stream(train_split))
    assert pinned == []
    assert_same(expected, stream(train_split, device=torch.device("cuda")))
    assert pinned == [True] * 5 * len(expected[0])


@pytest.mark.filterwarnings("ignore:.*no accelerator is found")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_loader_pins_for_a_gpu_what_its_processes_send(
    train_split: PackedSplit, pinned: list[bool], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    asked = []
    loader = stream_module.DataLoader
    monkeypatch.setattr(
        stream_module, "DataLoader", lambda *data, **options: (asked.append(options), loader(*data, **options))[1]
    )
    assert_same(stream(train_split), stream(train_split, workers=1, device=torch.device(device)))
    assert [options["pin_memory"] for options in asked] == [device == "cuda"]
    assert True not in pinned, "a loader process must not use the GPU"


def test_a_resumed_stream_continues_with_the_batch_that_was_copied_and_not_received(
    train_split: PackedSplit, pinned: list[bool]
) -> None:
    gpu, expected = torch.device("cuda"), list(stream(train_split))
    first = stream(train_split, device=gpu)
    received = [next(first), next(first)]
    assert_same(expected, [*received, *stream(train_split, device=gpu, start_iteration=2, iterations=3)])
    first.close()
    assert list(first) == []


def test_whole_images_are_the_split(train_split: PackedSplit) -> None:
    shown = list(whole_images(train_split))
    assert [name for *_, name in shown] == train_split.names
    for i, (image, label, _) in enumerate(shown):
        assert (image.shape, image.dtype) == ((1, 3, 64, 128), torch.uint8)
        np.testing.assert_array_equal(image[0].permute(1, 2, 0).numpy(), train_split.image(i))
        np.testing.assert_array_equal(label, train_split.label(i))
