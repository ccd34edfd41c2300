"""What a user may write in params/: a pydantic model for each kind of entry, with units in names or comments."""

from isoclock.params.schema.base import Entry
from isoclock.params.schema.budgets import Budget, ProfileSettings
from isoclock.params.schema.datasets import Dataset
from isoclock.params.schema.grids import Grid, GridBlock
from isoclock.params.schema.methods import IMPLEMENTATIONS, Implementation, Method
from isoclock.params.schema.models import Model, Pair
from isoclock.params.schema.published import Published
from isoclock.params.schema.recipes import Recipe, Scoring

__all__ = [
    "IMPLEMENTATIONS",
    "Budget",
    "Dataset",
    "Entry",
    "Grid",
    "GridBlock",
    "Implementation",
    "Method",
    "Model",
    "Pair",
    "ProfileSettings",
    "Published",
    "Recipe",
    "Scoring",
]
