"""A failure is reported completely. That real failures are recognised: tests/faults/test_outside_failures.py."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest
from torch.utils.data import DataLoader

from isoclock.errors import UserError
from isoclock.runner.failures import as_user_error


def test_a_loader_that_dies_meanwhile_does_not_cut_the_report_short() -> None:
    before = set(multiprocessing.active_children())
    loading = iter(DataLoader(range(100), num_workers=1, multiprocessing_context="fork"))
    (loader,) = set(multiprocessing.active_children()) - before
    reasons: list[str] = []

    def record(reason: str, _message: str) -> None:
        loader.kill()
        os.waitid(os.P_PID, loader.pid or 0, os.WEXITED | os.WNOWAIT)  # dead, and not yet collected
        reasons.append(reason)

    with (
        pytest.raises(UserError, match=r"^student: no room to write here \(method kd\); make room; the same command"),
        as_user_error("student", lambda: "method kd", record),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "here")
    assert reasons == ["disk-full"]
    del loading
