"""Label values that the whole pipeline shares."""

from __future__ import annotations

from typing import Final

IGNORE: Final = 255
"""Train id of pixels without a label: no loss and no score counts them."""

ILLEGAL: Final = 254
"""Entry of a label table for raw values that do not occur in the data set."""

UNLABELLED: Final = "unlabelled"
"""Name of the packed split of images without labels."""
