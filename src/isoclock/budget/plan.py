"""From cost and budget to iterations: arithmetic, and the record of what was accepted.

A plan reads only the profile of its own method and the accepted budget, so that a change to one method affects only its own
cells.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.files import sha256_json
from isoclock.grid.layout import Layout
from isoclock.grid.stamps import budget_stamp
from isoclock.params.load import Params
from isoclock.params.schema import Budget
from isoclock.protocol import check_version
from isoclock.records.document import build, read, read_if_there, write
from isoclock.records.plan import AcceptedBudget, Plan
from isoclock.records.profile import Profile


def accept_budget(
    params: Params, dataset: str, pair: str, name: str, layout: Layout, *, refresh: bool = False
) -> AcceptedBudget:
    """Resolve a budget into anchor-steps once and write it; later profiles of the yardstick do not change it.

    The accepted value is kept outside results/ and written again byte for byte, unless one of these changed: the entry in
    params/, recipe or networks of the yardstick's steps, or the protocol's version; or `refresh` is set. Protocol
    `iteration` resolves to no anchor-steps: each method spends what its iterations cost.
    """
    budget = params.budget(name)
    entry_digest = sha256_json(budget_stamp(params, dataset, pair, name))
    accepted_path, output = (
        layout.accepted_record("budget", dataset, pair, name),
        layout.accepted_budget(dataset, pair, name),
    )
    accepted = None if refresh else read_if_there(accepted_path, AcceptedBudget, f"plan {dataset} {pair} {name}")
    if accepted is None or accepted.entry != entry_digest:
        yardstick = _yardstick_profile(budget, dataset, pair, layout)
        content = {
            "dataset": dataset,
            "pair": pair,
            "budget": name,
            "protocol": budget.protocol,
            "iterations": budget.iterations,
            "yardstick": budget.yardstick,
            "anchor_steps": _resolved(budget, yardstick),
            "device_kind": yardstick.device_kind if yardstick else None,
            "marks": yardstick.marks if yardstick else [],
            "entry": entry_digest,
        }
        accepted = build(AcceptedBudget, content)
        write(accepted_path, accepted)
    write(output, accepted)
    return accepted


def make_plan(
    params: Params, dataset: str, pair: str, method: str, budget_name: str, layout: Layout, *, study: bool
) -> Plan:
    """How many iterations the accepted budget allows this method. Writes and returns the plan.

    Raises UserError for a marked profile in a study grid (the method's or the one its budget was resolved with) and for a
    budget of another device kind, ArtifactError for a profile or budget that is damaged or of another version of the
    protocol, ParamsError for a budget that is too small for one iteration.
    """
    profile_path = layout.profile(dataset, pair, method)
    accepted_path = layout.accepted_budget(dataset, pair, budget_name)
    profiled = f"profile {dataset} {pair} {profile_path.stem}"
    profile = read(profile_path, Profile, profiled)
    accepted = read(accepted_path, AcceptedBudget, f"plan {dataset} {pair} {budget_name}")
    check_version(profile_path, profile, f"measure again (isoclock {profiled})")
    check_version(accepted_path, accepted, f"resolve it again (isoclock plan {dataset} {pair} {budget_name})")
    _check_marks(profile_path, profile, accepted, study)
    _check_device_kind(accepted_path, profile, accepted)
    iterations = _iterations(profile, accepted)
    where = f"{params.folder / 'budgets.yaml'}: budgets.{budget_name}"
    pretraining = profile.pretrain_anchor_steps
    if iterations < 1:
        before = f" after {pretraining:.3g} of pre-training" if pretraining else ""
        raise ParamsError(
            f"{where}: {accepted.anchor_steps:.3g} anchor-steps buy no iteration of {method}, which costs "
            f"{profile.cost.ratio:.3g} each{before}; give a larger budget"
        )
    anchor_steps = iterations * profile.cost.ratio + pretraining
    recipe = params.recipe(dataset, "student")
    content = {
        "dataset": dataset,
        "pair": pair,
        "method": method,
        "budget": budget_name,
        "protocol": accepted.protocol,
        "iterations": iterations,
        "epochs": recipe.epochs(iterations, profile.images.model_dump()),
        "cost_ratio": profile.cost.ratio,
        "pretrain_anchor_steps": pretraining,
        "anchor_steps": anchor_steps,
        "anchor_s": profile.anchor_s.median,
        "planned_s": anchor_steps * profile.anchor_s.median,
        "device_kind": profile.device_kind,
        "budget_anchor_steps": accepted.anchor_steps,
        "yardstick": accepted.yardstick,
        "marks": profile.marks,
    }
    plan = build(Plan, content)
    every_s = recipe.checkpoint_every_s
    # A demo may end before its first checkpoint on a fast machine; in a study such a budget is a mistake.
    if study and plan.planned_s < every_s:
        raise ParamsError(
            f"{where}: {iterations} iterations of {method} take {plan.planned_s:.3g} s, less than a checkpoint interval "
            f"(training.yaml: {dataset}: checkpoint_every_s: {every_s:g}); give a larger budget"
        )
    write(layout.plan(dataset, pair, method, budget_name), plan)
    return plan


def accept_profile(measured: Profile, accepted_path: Path, output: Path, within: float) -> Profile:
    """Write and return a profile: the accepted one byte for byte if the new ratio is within `within` of it, else the new one.

    An accepted profile is compared only if it has the same digests, device kind, threads and protocol version and no marks.
    A marked measurement never replaces a clean accepted profile in `accepted_path`: a busy hour must not change later plans.
    An accepted profile that is damaged is reported, and replaced.
    """
    profile = accepted = measured
    try:
        before = read_if_there(accepted_path, Profile, "profile")
    except ArtifactError as error:  # what was measured must not be lost with it
        warnings.warn(f"{error} (the new measurement replaces it)", stacklevel=2)
        before = None
    if before is not None and not before.marks and _is_comparable(before, measured):
        moved = abs(measured.cost.ratio / before.cost.ratio - 1)
        profile = before if moved <= within else measured
        accepted = before if measured.marks else profile
    write(accepted_path, accepted)
    write(output, profile)
    return profile


def why_again(accepted_path: Path, now: Mapping[str, Any], within: float) -> str | None:
    """Why a method is measured that has an accepted profile; None if it has none, or a damaged one.

    `now` has what the new profile will have: `digests` (code, data, inputs), `device_kind`, `threads`, `protocol_version`.
    """
    try:
        before = read_if_there(accepted_path, Profile, "profile")
    except ArtifactError:
        return None
    if before is None:
        return None
    changed = [_WHAT[key] for key, value in now["digests"].items() if getattr(before.digests, key) != value]
    changed += [
        f"{key.replace('_', ' ')} ({getattr(before, key)}, now {now[key]})"
        for key in _SAME
        if getattr(before, key) != now[key]
    ]
    if changed:
        return f"measured before with other {', '.join(changed)}; the new cost counts"
    if before.marks:
        return f"measured before, and marked {', '.join(before.marks)}; the new cost counts"
    return f"measured before: ratio {before.cost.ratio:.3f}, which is kept if the new one is within {within:.0%} of it"


_SAME = ("device_kind", "threads", "protocol_version")
_WHAT = {"code": "code", "data": "data", "inputs": "networks, recipe or method (params/)"}


def _is_comparable(before: Profile, measured: Profile) -> bool:
    return all(getattr(before, key) == getattr(measured, key) for key in ("digests", *_SAME))


def _check_marks(profile_path: Path, profile: Profile, accepted: AcceptedBudget, study: bool) -> None:
    """Raise UserError in a study if the method's profile or the one of its budget's yardstick is marked."""
    where = f"{profile.dataset} {profile.pair}"
    if study and profile.marks:
        raise UserError(
            f"{profile_path}: marked {', '.join(profile.marks)} ({_why_marked(profile)}), and a study needs a clean profile; "
            f"measure again on a quiet machine: isoclock profile {where} {profile.method}"
        )
    if study and accepted.marks:
        raise UserError(
            f"{profile_path.parent / str(accepted.yardstick)}.json: when budget {accepted.budget} was resolved with it, it was "
            f"marked {', '.join(accepted.marks)}, and a study needs a clean profile; measure again, then {_refresh(accepted)}"
        )


def _check_device_kind(accepted_path: Path, profile: Profile, accepted: AcceptedBudget) -> None:
    if accepted.device_kind not in (None, profile.device_kind):
        raise UserError(
            f"{accepted_path}: resolved on {accepted.device_kind}, and {profile.method} was profiled on "
            f"{profile.device_kind}; anchor-steps are not comparable across device kinds: profile {accepted.yardstick} there "
            f"too, then {_refresh(accepted)}"
        )


def _refresh(accepted: AcceptedBudget) -> str:
    return f"isoclock plan {accepted.dataset} {accepted.pair} {accepted.budget} --refresh-budget"


def _iterations(profile: Profile, accepted: AcceptedBudget) -> int:
    """Iterations that a budget allows; 0 or less if the pre-training alone takes more."""
    if accepted.anchor_steps is None:
        return accepted.iterations or 0
    # A yardstick's own budget must give exactly its iterations: allow for rounding in the division.
    return floor((accepted.anchor_steps - profile.pretrain_anchor_steps) / profile.cost.ratio * (1 + 1e-9))


def _yardstick_profile(budget: Budget, dataset: str, pair: str, layout: Layout) -> Profile | None:
    if budget.yardstick is None:
        return None
    path = layout.profile(dataset, pair, budget.yardstick)
    profile = read(path, Profile, f"profile {dataset} {pair} {budget.yardstick}")
    check_version(path, profile, f"measure again (isoclock profile {dataset} {pair} {budget.yardstick})")
    return profile


def _resolved(budget: Budget, yardstick: Profile | None) -> float | None:
    if yardstick is None:
        return budget.anchor_steps  # None under protocol iteration
    assert budget.iterations is not None
    return budget.iterations * yardstick.cost.ratio + yardstick.pretrain_anchor_steps


def _why_marked(profile: Profile) -> str:
    """The figures behind a profile's marks."""
    widths = [profile.cost.half_width, *([profile.pretrain.half_width] if profile.pretrain else [])]
    found = f"the cost is known to {max(widths):.1%}, {profile.shares.data:.0%} of a step waits for data"
    loaders = profile.loader_share
    return found if loaders is None else f"{found}, loader processes are busy for {loaders:.0%} of a step"
