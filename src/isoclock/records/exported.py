"""model.json: a network that `isoclock export` wrote, with all that predicting needs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from isoclock.records.document import Document, Part
from isoclock.records.index import Byte
from isoclock.schema import Count, NonNegative, Share


class Compared(Part):
    """Logits of the ONNX file in onnxruntime against those of torch, on images of the prepared data."""

    images: Count
    largest_difference: NonNegative  # of a logit, over the largest absolute logit of its image
    same_class: Share  # of the pixels of the logits


class ExportedModel(Document):
    """`model.json`, next to model.safetensors, model.onnx and README.md. Sizes are (height, width) in pixels."""

    schema_: Literal[1] = Field(alias="schema")
    name: str  # the cell, or dataset/model of a teacher
    dataset: str
    architecture: str
    params: dict[str, Any]  # of the architecture
    classes: list[str] = Field(min_length=1)
    palette: list[tuple[Byte, Byte, Byte]]
    resize: tuple[Count, Count] | None  # to which photographs are resized first
    recipe: dict[str, Any]  # an entry of params/training.yaml
    onnx_size: tuple[Count, Count]  # of the input of model.onnx
    weights_sha256: str
    onnx_sha256: str
    compared: Compared
