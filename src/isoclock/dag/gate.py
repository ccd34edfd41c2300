"""The teacher gate: where a teacher scores less than a grid demands, no profile and no student of its pair starts."""

from __future__ import annotations

from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.grid.jobs import GridJobs
from isoclock.hints import choices
from isoclock.params.tuning import SWEEP
from isoclock.params.variants import whole_dataset
from isoclock.protocol import check_version
from isoclock.records.document import read
from isoclock.records.record import TeacherRecord
from isoclock.records.scores import ScoreDocument


def pass_gate(jobs: GridJobs, dataset: str, pair: str) -> str:
    """What the teacher of a pair scored and what the grid demands, in one line.

    Raises UserError, with the figure, if it scored less; ParamsError if the grid does not have this gate; ArtifactError if there
    are no scores of the teacher's weights.
    """
    file = jobs.params.folder / "grids" / f"{jobs.grid.removesuffix(SWEEP)}.yaml"
    whole = whole_dataset(dataset)
    if (dataset, pair) not in jobs.gates:
        known = choices(f"{dataset}/{pair}", ("/".join(where) for where in jobs.gates))
        raise ParamsError(f"{file}: teacher_miou_at_least: has nothing for {dataset}/{pair}; {known}")
    at_least = jobs.params.grid(jobs.grid).teacher_miou_at_least.get(whole, {}).get(pair)
    model, trained_on = jobs.params.pair(pair).teacher, jobs.params.teacher_dataset(dataset)
    miou = _scores(jobs, trained_on, model).miou
    found = f"teacher {trained_on}/{model}: {'diverged' if miou is None else f'mIoU {miou:.4f}'}"
    if at_least is None:
        return f"{found}; grid {jobs.grid} demands nothing"
    if miou is None or miou < at_least:
        raise UserError(
            f"{found}, and grid {jobs.grid} demands at least {at_least:g} of pair {pair} ({file}: "
            f"teacher_miou_at_least.{whole}.{pair}); nothing of this pair is measured or trained: train it again or import a "
            "better one, or lower the value"
        )
    return f"{found}; grid {jobs.grid} demands at least {at_least:g}"


def close_gates(jobs: GridJobs) -> None:
    """Remove the marks of gates that are not passed any more, so that the workflow compares again."""
    for where, mark in jobs.gates.items():
        if mark.is_file():
            try:
                pass_gate(jobs, *where)
            except UserError:
                mark.unlink()


def open_gates(jobs: GridJobs) -> None:
    """Write the marks of all gates. Raises UserError for one that is not passed."""
    for where, mark in jobs.gates.items():
        pass_gate(jobs, *where)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _scores(jobs: GridJobs, dataset: str, model: str) -> ScoreDocument:
    """The scores of a teacher's weights, under this version of the protocol."""
    path, verb = jobs.layout.teacher_scores(dataset, model).scores, f"evaluate {dataset}/{model}"
    scores = read(path, ScoreDocument, verb)
    check_version(path, scores, f"score it again (isoclock {verb})")
    record_path = jobs.layout.teacher_files(dataset, model).record
    record = read(record_path, TeacherRecord, f"teacher {dataset} {model}")
    if scores.weights != record.digests.weights:
        raise ArtifactError(f"{path}: of other weights than {record_path} names; score it again (isoclock {verb})")
    return scores
