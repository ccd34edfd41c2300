"""What is scored: a trained student or teacher, by its name on the command line. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isoclock.data.packing.packed import INDEX, PackedSplit, read_index
from isoclock.digests import Digests, short
from isoclock.errors import ArtifactError, DataError
from isoclock.files import sha256_file
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout, TrainedFiles
from isoclock.params.load import Params
from isoclock.params.schema import Model, Recipe
from isoclock.protocol import check_version
from isoclock.records.document import read
from isoclock.records.record import Record, StudentRecord, TeacherRecord


@dataclass(frozen=True)
class Target:
    """A student (`cell` says which) or a teacher. `trained` is the folder of its weights, `scores` that of its scores."""

    name: str
    dataset: str
    role: str  # student | teacher
    model: Model
    recipe: Recipe
    data: Path  # the prepared data set
    trained: Path
    scores: Path
    cell: Cell | None = None

    @classmethod
    def parse(cls, params: Params, text: str, layout: Layout) -> Target:
        """Of a cell's path, or of a teacher as `dataset/model`. Raises UserError for what is neither."""
        text = text.strip("/")
        if text.count("/") == 1:
            dataset, model = text.split("/")
            return cls.of_teacher(params, dataset, model, layout)
        return cls.of_cell(params, Cell.parse(text), layout)

    @classmethod
    def of_cell(cls, params: Params, cell: Cell, layout: Layout) -> Target:
        """A student. Raises ParamsError if its recipe or pair is not in params/."""
        model = params.model(params.pair(cell.pair).student)
        recipe = params.student_recipe(cell.dataset, cell.pair, cell.method)
        folders = layout.prepared(cell.dataset), layout.student(cell), layout.evaluation(cell)
        return cls(cell.path, cell.dataset, "student", model, recipe, *folders, cell)

    @classmethod
    def of_teacher(cls, params: Params, dataset: str, model: str, layout: Layout) -> Target:
        """A teacher, whose scores are stored with its weights. Raises ParamsError if its recipe or model is not in params/."""
        recipe = params.recipe(dataset, "teacher")
        trained = layout.teacher(dataset, model)
        folders = layout.prepared(dataset), trained, trained
        return cls(f"{dataset}/{model}", dataset, "teacher", params.model(model), recipe, *folders)

    @property
    def weights(self) -> Path:
        """Its last weights."""
        return TrainedFiles(self.trained).weights

    def check(self, kept: Digests) -> None:
        """Raise a UserError unless there is something to score: its own weights, in the network and on the data of their training.

        Digests in `kept` spare reading files again that did not change.
        """
        index, record, path = read_index(self.data), self.record(), self.data / INDEX
        again = f"train it again (isoclock {self._made_by})"
        if record.digests.data != (found := sha256_file(path)):
            raise ArtifactError(
                f"{path}: not the data that {self.name} was trained on (its SHA-256 is {short(found)}, not "
                f"{short(record.digests.data)}); {again}"
            )
        trained = {**record.params["recipe"], **record.params.get("student", record.params.get("model", {}))}
        now = self.model.model_dump(mode="json", include={"architecture", "params"})
        if self.model.checkpoint is None:
            now |= self.recipe.model_dump(mode="json", include={"precision", "colour"})
        if other := [key for key, value in now.items() if trained.get(key) != value]:
            raise ArtifactError(
                f"{TrainedFiles(self.trained).record}: {self.name} was trained with another {other[0]} ("
                f"{trained.get(other[0])!r}) than params/ has ({now[other[0]]!r}); undo that change, or {again}"
            )
        val = PackedSplit(self.data, "val")
        if not any(index.splits["val"].class_pixels):
            raise DataError(
                f"{self.name}: nothing to score: all labels of split val are void ({path}); correct the labels or the "
                f"reader, then run `isoclock prepare {self.dataset}` again"
            )
        val.verify(kept)
        names = f"the weights of {self.name} that record.json names"
        kept.check(self.weights, record.digests.weights, names, f"copy them back, or {again}")

    @property
    def _made_by(self) -> str:
        return f"{self.role} {self.name if self.cell else self.name.replace('/', ' ')}"

    def record(self) -> Record:
        """Its run record. Raises ArtifactError if it is missing or damaged, or if a student's is of another protocol version.

        A teacher's weights may be of an earlier version: its training is not measured. The scores are of this one.
        """
        path = TrainedFiles(self.trained).record
        if self.role == "teacher":
            return read(path, TeacherRecord, self._made_by)
        record = read(path, StudentRecord, self._made_by)
        check_version(path, record, f"train it again (isoclock {self._made_by})")
        return record
