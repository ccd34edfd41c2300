"""What CUDA and its libraries report when a GPU fails, in one line each. Imports no torch."""

from __future__ import annotations

import re

Failure = tuple[str, str, str]
"""Name of the reason, what happened, what to do."""

LESS_MEMORY = (
    "batch and crop stay as they are: take smaller ones for every method (params/training.yaml), or more memory"
)

_MEMORY = re.compile(r"(CUDA|Triton).*out of memory")
_ALLOCATION = re.compile(r"CU[A-Z]+_STATUS_ALLOC_FAILED|CUDNN_STATUS_INTERNAL_ERROR_\w+_ALLOCATION_FAILED")
# Of libraries that got no memory and report something else.
_LIKELY_MEMORY = re.compile(
    r"CUBLAS_STATUS_NOT_INITIALIZED|CUDNN_STATUS_(NOT_INITIALIZED|INTERNAL_ERROR\w*)|unable to find an engine to execute"
)
_CHECK = "check it (`nvidia-smi -q`, `dmesg | grep Xid`), and use another GPU if this happens again"
_OTHERS: dict[str, Failure] = {
    "ECC error": (
        "ecc-error",
        "uncorrectable ECC error: the GPU's memory is faulty",
        "reset or replace the GPU (`nvidia-smi -q -d ECC`), or use another one",
    ),
    "launch failure": ("launch-failure", "a kernel failed on the GPU (unspecified launch failure)", _CHECK),
    "launch timed out": (
        "launch-failure",
        "a kernel ran longer than the GPU's driver allows (launch timed out)",
        "use a GPU that drives no display",
    ),
    "illegal memory access": (
        "illegal-memory-access",
        "a kernel read or wrote outside its memory (illegal memory access)",
        "run with CUDA_LAUNCH_BLOCKING=1 to see which; if another GPU gives the same, report it",
    ),
    "no kernel image": (
        "no-kernel-image",
        "this build of torch has no kernels for this GPU (no kernel image)",
        "install one that has (`torch.cuda.get_arch_list()` lists a build's GPUs), or use another GPU",
    ),
}


def gpu_failure(message: str) -> Failure | None:
    """The failure that an exception's message reports, or None if it reports another one."""
    if _MEMORY.search(message):
        return "out-of-memory", "out of memory", LESS_MEMORY
    if found := _ALLOCATION.search(message):
        return "out-of-memory", f"out of memory: {found[0]}", LESS_MEMORY
    if found := _LIKELY_MEMORY.search(message):
        return "out-of-memory", f"probably out of memory: {found[0]}", LESS_MEMORY
    return next((failure for phrase, failure in _OTHERS.items() if phrase in message), None)
