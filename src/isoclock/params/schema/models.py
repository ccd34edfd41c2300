"""Entries of params/models.yaml."""

from __future__ import annotations

from typing import Any

from isoclock.params.schema.base import Entry, Name


class Model(Entry):
    """A segmenter (params/models.yaml, section `models`)."""

    architecture: Name  # a file of src/isoclock/models, a plugin or an entry point
    params: dict[str, Any] = {}  # of the architecture, by the rules that its class states
    weights: str  # what training starts from: random | imagenet | path of a local file


class Pair(Entry):
    """A teacher and its student (params/models.yaml, section `pairs`)."""

    teacher: Name
    student: Name
