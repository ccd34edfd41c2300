"""Labels in MATLAB files (.mat, version 5), as SBD and COCO-Stuff 10k have them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def matrix(content: bytes, name: str, *fields: str) -> NDArray[np.uint8]:
    """The variable `name` of a MATLAB file, or a field of this structure: a matrix (H, W) of integers, 0 to 255.

    Raises ValueError if the file is damaged, or has no such matrix.
    """
    # Imported here: scipy takes time to import, and most readers do not need it.
    from scipy.io import loadmat

    try:
        found = loadmat(io.BytesIO(content), variable_names=(name,))[name]
        for field in fields:
            found = found[field][0, 0]
    except Exception as error:  # of any kind, for a damaged file
        raise ValueError(f"cannot be read ({type(error).__name__}: {error}); download it again") from None
    where = ".".join((name, *fields))
    if not isinstance(found, np.ndarray) or found.ndim != 2 or not found.size or found.dtype.kind not in "uif":
        raise ValueError(f"{where} is not a matrix of numbers; download it again")
    values = found.astype(np.uint8)
    if (values != found).any():
        raise ValueError(f"{where} has values that are not integers of 0 to 255; download it again")
    return np.ascontiguousarray(values)
