"""What the local profile offers to jobs."""

from __future__ import annotations

import os

from isoclock.cluster.site import exit_with
from isoclock.errors import UserError
from isoclock.gpus import DEVICE, machine_gpus, visible_devices


def offered_gpus() -> int:
    """GPUs or MIG devices that jobs on this machine may use: 0 with ISOCLOCK_DEVICE=cpu.

    If `nvidia-smi` fails, or CUDA_VISIBLE_DEVICES names an unknown GPU, prints one line and exits with status 2.
    """
    if os.environ.get(DEVICE) == "cpu":
        return 0
    try:
        return len(visible_devices(machine_gpus()))
    except UserError as error:
        exit_with(error)
