"""The NVIDIA GPUs of this machine, what promises one to this process, and the lock on the one that it uses.

Nothing here imports torch or opens a GPU: `isoclock.runner.device` does, once CUDA_VISIBLE_DEVICES names one GPU only.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoclock.errors import UserError
from isoclock.locks import lock_until_exit

VISIBLE = "CUDA_VISIBLE_DEVICES"
DEVICE = "ISOCLOCK_DEVICE"
"""`cpu`: use the CPU even if a GPU is promised. `cuda`: refuse to work without a GPU."""
LOCKS = "ISOCLOCK_GPU_LOCKS"
LOCK_FOLDER = "/tmp/isoclock-gpus"
"""Default of ISOCLOCK_GPU_LOCKS. Not below TMPDIR, which differs between the users and the jobs of a machine."""

# What SLURM sets in a job or a step with a GPU: numbers of GPUs, and how many there are.
_SLURM_LISTS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "GPU_DEVICE_ORDINAL")
_SLURM_COUNTS = ("SLURM_GPUS_ON_NODE",)
_HIDDEN = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES that name no GPU; the last one is SLURM's
_DRIVER = Path("/proc/driver/nvidia/version")
_LISTING_S = 60  # without the persistence daemon, loading the driver takes some seconds a GPU

_locked: dict[str, int] = {}  # descriptors of the locks that this process holds until it ends


class GpuInUse(UserError):
    """Other processes have locked all GPUs that this one may use."""


@dataclass(frozen=True)
class Gpu:
    """A GPU by its UUID, and the UUIDs of the MIG devices that it is divided into."""

    uuid: str
    parts: tuple[str, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """What a process can open: the GPU, or its MIG devices."""
        return self.parts or (self.uuid,)

    def named(self, name: str) -> tuple[str, ...]:
        """Devices that a UUID or the start of one means; CUDA accepts both."""
        if self.uuid.startswith(name):
            return self.devices
        return tuple(part for part in self.parts if part.startswith(name))


def machine_gpus() -> list[Gpu]:
    """GPUs in the order of `nvidia-smi -L`. Empty if there is no such command, or it finds none.

    Raises UserError if it fails although a driver is loaded.
    """
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=_LISTING_S,
        )
    except FileNotFoundError:
        return []
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"nvidia-smi -L: {error}; repair the NVIDIA driver, or set {DEVICE}=cpu") from None
    if listed.returncode != 0:
        problem = " ".join((listed.stdout + listed.stderr).split())
        if not _DRIVER.exists() or "No devices" in problem:
            return []
        raise UserError(f"nvidia-smi -L: {problem}; repair the NVIDIA driver (or reboot), or set {DEVICE}=cpu")
    return _parsed(listed.stdout)


def visible_devices(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> list[str]:
    """What this process may use of `gpus`: UUIDs of GPUs or MIG devices, in the order of CUDA_VISIBLE_DEVICES.

    A number there is one of `nvidia-smi`. Where `gpus` is empty, its entries are returned as they are. Raises UserError for
    an entry that is not one of `gpus`.
    """
    if VISIBLE not in environment:
        return [device for gpu in gpus for device in gpu.devices]
    devices: list[str] = []
    for entry in (part.strip() for part in environment[VISIBLE].split(",")):
        if entry in _HIDDEN:  # it hides the rest too
            break
        found = _named(entry, gpus) if gpus else (entry,)
        if not found:
            raise UserError(
                f"{VISIBLE}={environment[VISIBLE]}: nvidia-smi lists no GPU {entry!r}, but {_listed(gpus)}; correct it, or unset it"
            )
        devices += [device for device in found if device not in devices]
    return devices


def promise(gpus: Sequence[Gpu], environment: Mapping[str, str] = os.environ) -> str | None:
    """What says that this process has a GPU, such as `SLURM_JOB_GPUS=2`; None if nothing does.

    A GPU that `nvidia-smi` lists counts, unless CUDA_VISIBLE_DEVICES hides it. CUDA_VISIBLE_DEVICES=-1 (a user's choice)
    hides SLURM's GPUs too; other values without a GPU do not.
    """
    if environment.get(DEVICE) == "cuda":
        return f"{DEVICE}=cuda"
    visible = environment.get(VISIBLE)
    if visible is not None and visible.strip() == "-1":
        return None
    if visible is not None and visible.split(",")[0].strip() not in _HIDDEN:
        return f"{VISIBLE}={visible}"
    for name in (*_SLURM_LISTS, *_SLURM_COUNTS):
        value = environment.get(name, "").strip()
        if value and not (name in _SLURM_COUNTS and value == "0"):
            return f"{name}={value}"
    return f"nvidia-smi lists {_listed(gpus)}" if gpus and visible is None else None


def lock_one(devices: Sequence[str], title: str, folder: Path | None = None) -> str:
    """Lock the first of `devices` that no other process has locked, until this process ends. Returns it.

    `title` says what this process does, for the message of another one. The locks are files in `folder` (default: that of
    ISOCLOCK_GPU_LOCKS). Raises GpuInUse with the process that holds each device, and UserError if the folder cannot be written.
    """
    folder = folder or Path(os.environ.get(LOCKS) or LOCK_FOLDER)
    holders = []
    for device in devices:
        path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', device)}.lock"
        try:
            handle = _open(path)
            if lock_until_exit(handle):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()}: {title}".encode())
                _locked[device] = handle
                return device
            holders.append(f"{device} is used by {os.read(handle, 4096).decode(errors='replace') or 'another process'}")
            os.close(handle)
        except OSError as error:
            advice = (
                f"set {LOCKS} to a folder of this machine that can be written and has file locks, such as /dev/shm/gpus"
            )
            raise UserError(f"{path}: {error.strerror}; {advice}") from None
    raise GpuInUse(
        f"no free GPU: {'; '.join(holders)}; wait until it ends, or stop it (or set {DEVICE}=cpu to use the CPU)"
    )


def _parsed(listing: str) -> list[Gpu]:
    gpus: list[Gpu] = []
    for line in listing.splitlines():
        found = re.search(r"\(UUID: ([^)\s]+)\)", line)
        if found is None:
            continue
        if line.startswith("GPU"):
            gpus.append(Gpu(found[1]))
        elif gpus:
            gpus[-1] = Gpu(gpus[-1].uuid, (*gpus[-1].parts, found[1]))
    return gpus


def _named(entry: str, gpus: Sequence[Gpu]) -> tuple[str, ...]:
    if entry.isdecimal():
        return gpus[int(entry)].devices if int(entry) < len(gpus) else ()
    return tuple(device for gpu in gpus for device in gpu.named(entry))


def _listed(gpus: Sequence[Gpu]) -> str:
    return ", ".join(device for gpu in gpus for device in gpu.devices)


def _open(path: Path) -> int:
    """The file, opened to write; made for all users of the machine where it does not exist."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        try:
            # First without O_CREAT: Linux refuses that for the files of others in a folder like /tmp (fs.protected_regular).
            return os.open(path, flags)
        except FileNotFoundError:
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.parent.chmod(0o1777)
        try:
            handle = os.open(path, flags | os.O_CREAT | os.O_EXCL)
        except FileExistsError:  # another process made it meanwhile
            continue
        os.fchmod(handle, 0o666)  # regardless of the umask
        return handle
