"""The value in label maps that every part of the pipeline shares."""

from __future__ import annotations

from typing import Final

IGNORE: Final = 255
"""Train id of pixels without a label: no loss and no score counts them."""
