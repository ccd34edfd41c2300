"""A failure is reported completely. That real failures are recognised: tests/faults/test_outside_failures.py."""

from __future__ import annotations

import errno
import multiprocessing
import os

import pytest
import torch
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
        pytest.raises(UserError, match=r"^student: here: No space left on device; make room; the same"),
        as_user_error("student", lambda: "method kd", record),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "here")
    assert reasons == ["disk-full"]
    del loading


MEMORY = "out of memory"


@pytest.mark.parametrize(
    ("error", "reason", "line"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "out-of-memory", rf"{MEMORY} \("),
        (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors"), "out-of-memory", rf"{MEMORY} \("),
        (RuntimeError("Triton Error [CUDA]: out of memory"), "out-of-memory", rf"{MEMORY} \("),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "out-of-memory",
            f"{MEMORY}: CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
            "out-of-memory",
            f"{MEMORY}: CUDNN_STATUS_ALLOC_FAILED",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
            "out-of-memory",
            f"{MEMORY}: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
            "out-of-memory",
            f"probably {MEMORY}: CUDNN_STATUS_INTERNAL_ERROR",
        ),
        (
            RuntimeError("GET was unable to find an engine to execute this computation"),
            "out-of-memory",
            f"probably {MEMORY}: unable to find an engine",
        ),
        (
            torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered"),
            "ecc-error",
            "uncorrectable ECC error: the GPU's memory is faulty .*; reset or replace the GPU",
        ),
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure"),
            "launch-failure",
            "a kernel failed on the GPU .*; check it",
        ),
        (
            torch.AcceleratorError("CUDA error: the launch timed out and was terminated"),
            "launch-failure",
            "a kernel ran longer than the GPU's driver allows",
        ),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
            "illegal-memory-access",
            "a kernel read or wrote outside its memory .*; run with CUDA_LAUNCH_BLOCKING=1",
        ),
        (
            torch.AcceleratorError("CUDA error: no kernel image is available for execution on the device"),
            "no-kernel-image",
            "this build of torch has no kernels for this GPU .*; install one that has",
        ),
    ],
)
def test_a_failure_of_the_gpu_is_one_line(error: Exception, reason: str, line: str) -> None:
    recorded: list[tuple[str, str]] = []
    with (
        pytest.raises(UserError, match=rf"^student: {line}.*; the same command continues") as found,
        as_user_error("student", lambda: "method kd", lambda *failure: recorded.append(failure)),
    ):
        raise error
    assert len(found.value.problems) == 1
    assert "\n" not in found.value.problems[0]
    assert recorded == [(reason, found.value.problems[0].removeprefix("student: "))]


def test_an_error_of_the_operating_system_in_a_loader_process_is_one_line() -> None:
    error = FileNotFoundError(
        "Caught FileNotFoundError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        "  File ...\nFileNotFoundError: [Errno 2] No such file or directory: '/tmp/pymp-1/listener-1'\n"
    )
    line = (
        r"^student: a loader process cannot go on: \[Errno 2\] No such file or directory: '/tmp/\S+' \(method kd\); see"
    )
    with pytest.raises(UserError, match=line), as_user_error("student", lambda: "method kd"):
        raise error


def test_an_assertion_in_a_kernel_is_a_fault_of_the_program() -> None:
    with pytest.raises(torch.AcceleratorError), as_user_error("student", lambda: "method kd"):
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")
