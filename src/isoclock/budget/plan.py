"""From cost and budget to iterations: pure arithmetic, and the memory of what was accepted.

A plan reads its own method's profile and the accepted budget only, so that one method's change touches one method's cells.
"""

from __future__ import annotations

from math import floor
from pathlib import Path
from typing import Any

from isoclock.errors import ParamsError, UserError
from isoclock.files import read_json, sha256_json, write_json
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import budget_stamp
from isoclock.params.load import Params
from isoclock.params.schema import Budget
from isoclock.records.protocol import KEY, VERSION, check_version, version_of

SCHEMA = 1


def accept_budget(
    params: Params, dataset: str, pair: str, name: str, layout: Layout, *, refresh: bool = False
) -> dict[str, Any]:
    """Resolve a budget into anchor-steps once and write it down; later profiles of the yardstick do not move it.

    The accepted value is remembered outside results/ and written again byte for byte, unless the entry in params/, what
    the yardstick's steps are of (recipe, networks) or the protocol's version changed, or `refresh` is asked for.
    Protocol `iteration` resolves to no anchor-steps: each method spends what its iterations cost.
    """
    budget = params.budget(name)
    told = sha256_json(budget_stamp(params, dataset, pair, name))
    memory = layout.accepted_record("budget", dataset, pair, name)
    if memory.is_file() and not refresh:
        accepted = read_json(memory, made_by="plan")
        if accepted["entry"] == told:
            write_json(layout.accepted_budget(dataset, pair, name), accepted)
            return accepted
    yardstick = _yardstick_profile(budget, dataset, pair, layout)
    accepted = {
        "schema": SCHEMA,
        KEY: VERSION,
        "dataset": dataset,
        "pair": pair,
        "budget": name,
        "protocol": budget.protocol,
        "iterations": budget.iterations,
        "yardstick": budget.yardstick,
        "anchor_steps": _resolved(budget, yardstick),
        "device_kind": yardstick["device_kind"] if yardstick else None,  # None: the same anchor-steps anywhere
        "marks": yardstick["marks"] if yardstick else [],
        "entry": told,
    }
    write_json(memory, accepted)
    write_json(layout.accepted_budget(dataset, pair, name), accepted)
    return accepted


def make_plan(
    params: Params, dataset: str, pair: str, method: str, budget_name: str, layout: Layout, *, study: bool
) -> dict[str, Any]:
    """How many iterations the accepted budget buys this method. Writes and returns the plan.

    Raises UserError for a marked profile in a study grid (the method's or the one its budget was resolved with) and for a
    budget of another device kind, ArtifactError for a profile or budget of another version of the protocol, ParamsError for a
    budget that buys no iteration.
    """
    profile_path = layout.profile(dataset, pair, method)
    profile = read_json(profile_path, made_by="profile")
    accepted_path = layout.accepted_budget(dataset, pair, budget_name)
    accepted = read_json(accepted_path, made_by="plan")
    check_version(profile_path, profile, f"measure again (isoclock profile {dataset} {pair} {method})")
    check_version(accepted_path, accepted, f"resolve it again (isoclock plan {dataset} {pair} {budget_name})")
    if study and profile["marks"]:
        raise UserError(
            f"{profile_path}: marked {', '.join(profile['marks'])} ({_why(profile)}), and a study needs a clean profile; "
            f"measure again on a quiet machine: isoclock profile {dataset} {pair} {method}"
        )
    refresh = f"isoclock plan {dataset} {pair} {budget_name} --refresh-budget"
    if study and accepted.get("marks"):
        raise UserError(
            f"{profile_path.parent / accepted['yardstick']}.json: when budget {budget_name} was resolved with it, it was marked "
            f"{', '.join(accepted['marks'])}, and a study needs a clean profile; measure again, then {refresh}"
        )
    if accepted.get("device_kind") not in (None, profile["device_kind"]):
        raise UserError(
            f"{accepted_path}: resolved on {accepted['device_kind']}, and {method} was "
            f"profiled on {profile['device_kind']}; anchor-steps are not comparable across device kinds: profile "
            f"{accepted['yardstick']} there too, then {refresh}"
        )
    cost, pretraining = profile["cost"]["ratio"], _pretraining(profile)
    if accepted["protocol"] == "iteration":
        iterations = accepted["iterations"]
    else:
        # A yardstick's own budget must buy exactly its iterations: forgive the last bits of the division.
        iterations = floor((accepted["anchor_steps"] - pretraining) / cost * (1 + 1e-9))
    if iterations < 1:
        before = f" after {pretraining:.3g} of pre-training" if pretraining else ""
        raise ParamsError(
            f"{params.folder / 'budgets.yaml'}: budgets.{budget_name}: {accepted['anchor_steps']:.3g} anchor-steps buy no "
            f"iteration of {method}, which costs {cost:.3g} each{before}; give a larger budget"
        )
    anchor_steps = iterations * cost + pretraining
    recipe = params.recipe(dataset, "student")
    plan = {
        "schema": SCHEMA,
        KEY: VERSION,
        "dataset": dataset,
        "pair": pair,
        "method": method,
        "budget": budget_name,
        "protocol": accepted["protocol"],
        "iterations": iterations,
        "epochs": recipe.epochs(iterations, profile["images"]),
        "cost": cost,
        "pretrain_anchor_steps": pretraining,
        "anchor_steps": anchor_steps,
        "anchor_s": profile["anchor_s"]["median"],
        "planned_s": anchor_steps * profile["anchor_s"]["median"],
        "device_kind": profile["device_kind"],
        "budget_anchor_steps": accepted["anchor_steps"],
        "yardstick": accepted["yardstick"],
        "marks": profile["marks"],
    }
    every_s = recipe.checkpoint_every_s
    # A demo may be over before its first checkpoint, on a fast machine; of a study that says that a budget is a slip.
    if study and plan["planned_s"] < every_s:
        raise ParamsError(
            f"{params.folder / 'budgets.yaml'}: budgets.{budget_name}: {iterations} iterations of {method} take "
            f"{plan['planned_s']:.3g} s, less than a checkpoint interval (training.yaml: {dataset}: checkpoint_every_s: "
            f"{every_s:g}); give a larger budget"
        )
    write_json(layout.plan(dataset, pair, method, budget_name), plan)
    return plan


def accept_profile(measured: dict[str, Any], memory: Path, output: Path, within: float) -> dict[str, Any]:
    """Write a profile: the accepted one byte for byte if the new ratio is within `within` of it, else the new one.

    An accepted profile of other inputs (`digests`), device kind or version of the protocol is no comparison; nor is a marked one.
    A marked measurement never takes the place of a clean accepted one in memory: a busy hour shall not move a plan for good.
    """
    profile, remembered = measured, measured
    if memory.is_file():
        accepted = read_json(memory, made_by="profile")
        same = all(accepted[key] == measured[key] for key in ("digests", "device_kind", "threads"))
        if same and version_of(accepted) == version_of(measured) and not accepted["marks"]:
            moved = abs(measured["cost"]["ratio"] / accepted["cost"]["ratio"] - 1)
            profile = accepted if moved <= within else measured
            remembered = accepted if measured["marks"] else profile
    write_json(memory, remembered)
    write_json(output, profile)
    return profile


def _yardstick_profile(budget: Budget, dataset: str, pair: str, layout: Layout) -> dict[str, Any] | None:
    if budget.yardstick is None:
        return None
    path = layout.profile(dataset, pair, budget.yardstick)
    profile: dict[str, Any] = read_json(path, made_by="profile")
    check_version(path, profile, f"measure again (isoclock profile {dataset} {pair} {budget.yardstick})")
    return profile


def _resolved(budget: Budget, yardstick: dict[str, Any] | None) -> float | None:
    if yardstick is None:
        return budget.anchor_steps  # None under protocol iteration
    assert budget.iterations is not None
    return float(budget.iterations * yardstick["cost"]["ratio"] + _pretraining(yardstick))


def _why(profile: dict[str, Any]) -> str:
    """The figures behind a profile's marks."""
    found = f"windows spread over {profile['spread']:.0%}, {profile['shares']['data']:.0%} of a step waits for data"
    loaders = profile.get("loader_share")
    return found if loaders is None else f"{found}, loader processes are busy for {loaders:.0%} of a step"


def _pretraining(profile: dict[str, Any]) -> float:
    """Anchor-steps that a method spends before its first iteration."""
    pretrain = profile.get("pretrain")
    return float(pretrain["iterations"] * pretrain["ratio"]) if pretrain else 0.0
