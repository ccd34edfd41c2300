"""What a user may write in params/: a pydantic model for each kind of entry, with units in names or comments."""

from isoclock.params.schema.base import Entry as Entry
from isoclock.params.schema.datasets import Dataset as Dataset
from isoclock.params.schema.folder import Folder as Folder
from isoclock.params.schema.grids import Budget as Budget
from isoclock.params.schema.grids import Grid as Grid
from isoclock.params.schema.grids import ProfileSettings as ProfileSettings
from isoclock.params.schema.grids import TunedWeights as TunedWeights
from isoclock.params.schema.grids import Tuning as Tuning
from isoclock.params.schema.methods import MethodEntry as MethodEntry
from isoclock.params.schema.methods import Published as Published
from isoclock.params.schema.training import Checkpoint as Checkpoint
from isoclock.params.schema.training import Model as Model
from isoclock.params.schema.training import Pair as Pair
from isoclock.params.schema.training import Recipe as Recipe
from isoclock.params.schema.training import Scoring as Scoring
