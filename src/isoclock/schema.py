"""Types of values with their bounds, for params/ and for the documents that verbs exchange."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

NAME_PATTERN = r"[a-z0-9][a-z0-9_.-]{0,99}"
"""The one rule for names: of data sets, pairs, models, methods, budgets and grids.

They become names of files and folders, wildcards of Snakemake, and words of shell commands.
"""
NAME_RULE = (
    "a name has lower-case letters, digits, '_', '.' and '-', starts with a letter or digit, and is at most 100 long"
)
MAX_INT = 2**63 - 1  # of a database, an array and a YAML file
MAX_SEED = MAX_INT

Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
OpenShare = Annotated[float, Field(gt=0, lt=1, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=1, le=MAX_INT, strict=True)]
Unix = Annotated[float, Field(ge=0, lt=1e11, strict=True)]  # seconds since 1970, before the year 5138


def is_name(text: str) -> bool:
    """Whether a text follows the rule for names."""
    return re.fullmatch(NAME_PATTERN, text) is not None
