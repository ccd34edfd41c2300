"""The weights of a run as a logged model of MLflow, and versions of it in the registry."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean

import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Run

from isoclock.tracking.source import RunSource

MODEL = "isoclock.model"  # id of a run's logged model
WEIGHTS = "isoclock.weights"  # digest of its weights
TEACHER = "teacher"  # alias


def put_model(client: MlflowClient, run: Run, source: RunSource) -> dict[str, str]:
    """Log the weights of a run as a model, unless that is done; returns tags of the run. A model of other weights is deleted."""
    if source.weights is None:
        return {}
    (path, digest), run_id, model_id = source.weights, run.info.run_id, None
    for found in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"):
        if found.tags.get(WEIGHTS) == digest and found.status == LoggedModelStatus.READY:
            model_id = found.model_id
        else:  # of a sync that was interrupted, or of weights that are no longer there
            client.delete_logged_model(found.model_id)
    if model_id is None:
        tags = {WEIGHTS: digest, "isoclock.key": source.key}
        name = source.name.replace("/", " ")
        model = client.create_logged_model(run.info.experiment_id, name, run_id, tags, source.params, source.kind)
        model_id = model.model_id
        client.log_model_artifact(model_id, str(path))
        with tempfile.TemporaryDirectory() as folder:
            flavour = {"weights": path.name, "format": "safetensors", "key": source.key, **source.network}
            content = {"model_id": model_id, "run_id": run_id, "flavors": {"isoclock": flavour}}
            (Path(folder) / "MLmodel").write_text(yaml.safe_dump(content, sort_keys=False))
            client.log_model_artifact(model_id, str(Path(folder) / "MLmodel"))
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    logged = run.outputs.model_outputs if run.outputs else []
    if all(output.model_id != model_id for output in logged):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, source.final_iteration)])
    return {MODEL: model_id, WEIGHTS: digest}


def best_of_budgets(runs: Iterable[Run]) -> dict[str, Run]:
    """By the alias `best-at-<budget>`: the method with the highest mean mIoU, on its first seed.

    Methods with fewer scored seeds than others of the budget do not count, so that no lucky seed and no diverged run wins.
    """
    found: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if "miou" in run.data.metrics and MODEL in run.data.tags:
            found[run.data.params["budget"]][run.data.params["method"]].append(run)
    best = {}
    for budget, methods in found.items():
        most = max(map(len, methods.values()))
        means = {
            (fmean(run.data.metrics["miou"] for run in seeds), method): seeds
            for method, seeds in sorted(methods.items())
            if len(seeds) == most
        }
        # The characters of an alias are fewer than those of a name.
        best[f"best-at-{budget.replace('.', '_')}"] = min(
            means[max(means)], key=lambda run: int(run.data.params["seed"])
        )
    return best


def wanted_aliases(
    runs: Iterable[Run], teachers: Mapping[str, Run], used: Mapping[str, str]
) -> dict[str, dict[str, Run]]:
    """Aliases and their runs, by pair, of the runs of one data set that no newer run replaces.

    `teachers` has the runs of teachers by the digest of their weights; `used` has the digest that each pair's students used.
    """
    by_pair: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_pair[run.data.params["pair"]].append(run)
    found = {pair: best_of_budgets(students) for pair, students in by_pair.items()}
    for pair, digest in used.items():
        if digest in teachers:
            found.setdefault(pair, {})[TEACHER] = teachers[digest]
    return found


def set_aliases(client: MlflowClient, name: str, wanted: Mapping[str, Run]) -> int:
    """Let the aliases of a registered model name the models of runs; returns how many changed.

    The registered model and its versions are created where they are missing.
    """
    if not wanted:
        return 0
    found = client.search_registered_models(f"name = '{name}'")
    if not found:
        client.create_registered_model(name, description=_DESCRIPTION)
    aliases = client.get_registered_model(name).aliases if found else {}
    versions = {one.tags.get(MODEL): str(one.version) for one in client.search_model_versions(f"name = '{name}'")}
    changed = 0
    for alias, run in wanted.items():
        model_id = run.data.tags[MODEL]
        if model_id not in versions:
            where = client.get_logged_model(model_id).artifact_location
            made = client.create_model_version(
                name, where, run.info.run_id, {MODEL: model_id}, None, run.info.run_name, 0, model_id
            )
            versions[model_id] = str(made.version)
        if str(aliases.get(alias)) != versions[model_id]:
            client.set_registered_model_alias(name, alias, versions[model_id])
            changed += 1
    return changed


_DESCRIPTION = """\
Aliases: `teacher`: the teacher of this pair; `best-at-<budget>`: the method with the highest mean mIoU over seeds, on its
first seed."""
