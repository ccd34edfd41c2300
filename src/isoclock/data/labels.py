"""Label values that the whole pipeline agrees on."""

from __future__ import annotations

IGNORE = 255
"""Train id of pixels that no loss and no score looks at."""

ILLEGAL = 254
"""Entry of a label table for raw values that the data set does not have."""

UNLABELLED = "unlabelled"
"""Name of the packed split of images that are trained on without labels."""
