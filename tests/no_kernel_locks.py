"""A process for which the kernel has no locks of files. Run as a program, it then executes another one.

python no_kernel_locks.py 37 COMMAND ...
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

_CALLS = {"x86_64": (0xC000003E, 73, 72), "aarch64": (0xC00000B7, 32, 25)}  # audit number, flock, fcntl
_LOCKING = (6, 7, 37, 38)  # commands of fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
_ALLOW = 0x7FFF0000


def refuse_locks(number: int) -> None:
    """From now on, `flock` and `fcntl` fail with this error number where they would lock; in children too."""
    audit, flock, fcntl = _CALLS[platform.machine()]
    error, last = 0x00050000 | number, 10
    filters = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 0, last - 2, audit),
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, last - 3, 0, flock),
        (0x15, 0, last - 5, fcntl),
        (0x20, 0, 0, 24),  # load its second argument
        *((0x15, last - 6 - place, 0, command) for place, command in enumerate(_LOCKING)),
        (0x06, 0, 0, _ALLOW),
        (0x06, 0, 0, error),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in filters))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(filters), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    one, zero = ctypes.c_ulong(1), ctypes.c_ulong(0)
    if libc.prctl(38, one, zero, zero, zero) or libc.prctl(
        22, ctypes.c_ulong(2), program, zero, zero
    ):  # no_new_privs, seccomp
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    refuse_locks(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
