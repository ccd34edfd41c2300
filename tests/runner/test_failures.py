"""What is told of a mishap is told to its end. That real ones are recognised: tests/faults/test_mishaps.py."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest
from torch.utils.data import DataLoader

from isoclock.errors import UserError
from isoclock.runner.failures import told_in_one_line


def test_a_loader_that_dies_meanwhile_does_not_break_off_what_is_told() -> None:
    before = set(multiprocessing.active_children())
    loading = iter(DataLoader(range(100), num_workers=1, multiprocessing_context="fork"))
    (loader,) = set(multiprocessing.active_children()) - before
    told: list[str] = []

    def tell(reason: str, _message: str) -> None:
        loader.kill()
        os.waitid(os.P_PID, loader.pid or 0, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
        told.append(reason)

    with (
        pytest.raises(UserError, match=r"^student: no room to write here \(method kd\); make room; the same command"),
        told_in_one_line("student", lambda: "method kd", tell),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "here")
    assert told == ["disk-full"]
    del loading
