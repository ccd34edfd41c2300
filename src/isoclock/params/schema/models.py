"""Entries of params/models.yaml."""

from __future__ import annotations

from isoclock.params.schema.base import Count, Entry, Name


class Model(Entry):
    """A segmenter (params/models.yaml, section `models`)."""

    architecture: Name  # a file of src/isoclock/models
    encoder: str  # name of a segmentation-models-pytorch encoder
    head_channels: Count
    aux_channels: Count
    weights: str  # random | imagenet | path of a local file with encoder weights


class Pair(Entry):
    """A teacher and its student (params/models.yaml, section `pairs`)."""

    teacher: Name
    student: Name
