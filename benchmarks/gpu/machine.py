"""Part `machine`: card, clocks, power and versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import torch
from rows import Rows, part_arguments

QUERY = (
    "name",
    "driver_version",
    "memory.total",
    "clocks.max.sm",
    "clocks.sm",
    "clocks.max.memory",
    "clocks.mem",
    "power.limit",
    "power.draw",
    "temperature.gpu",
    "mig.mode.current",
    "ecc.mode.current",
    "persistence_mode",
)
PACKAGES = ("torch", "torchvision", "timm", "numpy", "numba", "triton", "segmentation-models-pytorch", "nvidia-ml-py")


def main() -> None:
    """One row of software, and one of the card."""
    arguments = part_arguments(__doc__).parse_args()
    rows = Rows(arguments.out)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    rows.put(
        kind="software",
        python=platform.python_version(),
        cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),
        cpu_cores=len(os.sched_getaffinity(0)),
        **versions,
    )
    if arguments.device == "cpu":
        rows.put(kind="device", name="cpu")
        return
    properties = torch.cuda.get_device_properties(0)
    card = {
        "name": properties.name,
        "memory_mib": properties.total_memory >> 20,
        "multiprocessors": properties.multi_processor_count,
        "capability": f"{properties.major}.{properties.minor}",
    }
    rows.put(kind="device", **card, **_nvidia_smi())


def _nvidia_smi() -> dict[str, str]:
    """Clocks, power and modes as nvidia-smi prints them; empty without it."""
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    return {key.replace(".", "_"): value for key, value in zip(QUERY[1:], values[1:], strict=True)}


if __name__ == "__main__":
    main()
