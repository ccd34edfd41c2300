from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import documents
from isoclock.budget.plan import accept_budget, accept_profile, make_plan, why_again
from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.files import write_json
from isoclock.protocol import VERSION
from isoclock.records.document import plain, read, write
from isoclock.records.plan import AcceptedBudget, Plan
from isoclock.records.profile import Profile
from tiny_study import TinyStudy

WHERE = ("streets", "tiny")


def profile(ratio: float, **changes: Any) -> Profile:
    cost = {"low": 0.75 * ratio, "high": 1.25 * ratio}
    return documents.profile(ratio=ratio, **({"cost": cost, "shares": {"data": 0.125}} | changes))


def pretraining(iterations: int) -> dict[str, Any]:
    return {"iterations": iterations, "ratio": 0.25, "low": 0.2, "high": 0.3}


def put_profile(study: TinyStudy, method: str, ratio: float, **changes: Any) -> None:
    write(study.layout.profile(*WHERE, method), profile(ratio, method=method, **changes))


def accept(study: TinyStudy, budget: str = "compute-6", refresh: bool = False) -> AcceptedBudget:
    return accept_budget(study.params, *WHERE, budget, study.layout, refresh=refresh)


def plan(study: TinyStudy, method: str, budget: str = "compute-6", strict: bool = False) -> Plan:
    return make_plan(study.params, *WHERE, method, budget, study.layout, study=strict)


def test_everyone_gets_what_the_yardstick_needs(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    put_profile(empty_study, "none", 1.0)
    put_profile(empty_study, "mgd", 4.0)
    assert accept(empty_study).anchor_steps == 9.0
    assert plan(empty_study, "kd").iterations == 6
    assert plan(empty_study, "none").iterations == 9
    costly = plan(empty_study, "mgd")
    assert (costly.iterations, costly.anchor_steps, costly.budget_anchor_steps) == (2, 8.0, 9.0)
    assert costly.planned_s == pytest.approx(0.8)
    assert costly.yardstick == "kd"
    assert read(empty_study.layout.plan(*WHERE, "mgd", "compute-6"), Plan, "plan") == costly


def test_a_pre_training_is_charged(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    put_profile(empty_study, "mgd", 1.0, pretrain=pretraining(10))
    accept(empty_study)
    found = plan(empty_study, "mgd")  # 9 anchor-steps, 2.5 of them before the first iteration
    assert (found.iterations, found.pretrain_anchor_steps, found.anchor_steps) == (6, 2.5, 8.5)
    assert found.planned_s == pytest.approx(0.85)
    accept(empty_study, "iteration-6")
    assert plan(empty_study, "mgd", "iteration-6").anchor_steps == 8.5


def test_a_pre_training_that_eats_the_budget_is_reported(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    put_profile(empty_study, "mgd", 1.0, pretrain=pretraining(100))
    accept(empty_study)
    with pytest.raises(ParamsError, match="buy no iteration of mgd, which costs 1 each after 25 of pre-training"):
        plan(empty_study, "mgd")


def test_a_yardsticks_pre_training_is_in_its_budget(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5, pretrain=pretraining(10))
    assert accept(empty_study).anchor_steps == 11.5
    assert plan(empty_study, "kd").iterations == 6


def test_under_protocol_iteration_all_run_the_same(empty_study: TinyStudy) -> None:
    accept(empty_study, "iteration-6")
    for method, ratio in (("none", 1.0), ("mgd", 7.0)):
        put_profile(empty_study, method, ratio)
        found = plan(empty_study, method, "iteration-6")
        assert (found.iterations, found.anchor_steps) == (6, 6 * ratio)
        assert found.budget_anchor_steps is None


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ratio=st.floats(0.05, 500), iterations=st.integers(1, 200_000))
def test_the_yardstick_gets_exactly_its_own(empty_study: TinyStudy, ratio: float, iterations: int) -> None:
    budgets = empty_study.folder / "params" / "budgets.yaml"
    original = budgets.read_text()
    budgets.write_text(
        original.replace("yardstick: kd\n    iterations: 6", f"yardstick: kd\n    iterations: {iterations}")
    )
    try:
        put_profile(empty_study, "kd", ratio)
        accept(empty_study, refresh=True)
        assert plan(empty_study, "kd").iterations == iterations
    finally:
        budgets.write_text(original)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ratio=st.floats(0.05, 40), yardstick=st.floats(0.5, 40))
def test_nobody_spends_more_than_the_budget_nor_an_iteration_less(
    empty_study: TinyStudy, ratio: float, yardstick: float
) -> None:
    put_profile(empty_study, "kd", yardstick)
    put_profile(empty_study, "cwd", ratio)
    budget = accept(empty_study, refresh=True).anchor_steps
    try:
        found = plan(empty_study, "cwd")
    except ParamsError:
        assert ratio > budget
        return
    assert found.anchor_steps <= budget * (1 + 2e-9)
    assert found.anchor_steps + ratio > budget


def test_an_accepted_budget_does_not_move_with_its_yardstick(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    path = empty_study.layout.accepted_budget(*WHERE, "compute-6")
    before = path.read_bytes()
    put_profile(empty_study, "kd", 3.0)
    path.unlink()  # as a workflow does before it runs a rule again
    assert accept(empty_study).anchor_steps == 9.0
    assert path.read_bytes() == before


def test_an_accepted_budget_needs_no_profile_any_more(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    empty_study.layout.profile(*WHERE, "kd").unlink()
    assert accept(empty_study).anchor_steps == 9.0


def test_refreshing_moves_it(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    put_profile(empty_study, "kd", 3.0)
    assert accept(empty_study, refresh=True).anchor_steps == 18.0
    assert accept(empty_study).anchor_steps == 18.0, "and it is the accepted one from then on"


def test_another_entry_in_params_moves_it(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    empty_study.edit("budgets.yaml", "yardstick: kd\n    iterations: 6", "yardstick: kd\n    iterations: 8")
    assert accept(empty_study).anchor_steps == 12.0


def test_other_words_of_provenance_do_not(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    put_profile(empty_study, "kd", 3.0)
    empty_study.edit(
        "budgets.yaml",
        'yardstick: kd\n    iterations: 6\n    provenance: {"*": ours}',
        'yardstick: kd\n    iterations: 6\n    provenance: {"*": "ours: a toy"}',
    )
    assert accept(empty_study).anchor_steps == 9.0


def test_a_budget_in_anchor_steps_needs_no_profile(empty_study: TinyStudy) -> None:
    empty_study.edit("budgets.yaml", "yardstick: kd\n    iterations: 6", "anchor_steps: 7.5")
    assert accept(empty_study).anchor_steps == 7.5


def test_a_budget_that_buys_nothing_names_method_and_budget(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.0)
    put_profile(empty_study, "mgd", 6.5)
    accept(empty_study)
    with pytest.raises(
        ParamsError, match=r"budgets\.yaml: budgets\.compute-6: 6 anchor-steps buy no iteration of mgd.*6\.5"
    ):
        plan(empty_study, "mgd")
    assert not empty_study.layout.plan(*WHERE, "mgd", "compute-6").exists()


def test_a_study_refuses_a_marked_profile(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.0, marks=["noisy", "input-bound"])
    accept(empty_study)
    with pytest.raises(
        UserError,
        match=r"kd\.json: marked noisy, input-bound \(the cost is known to 25\.0%, 12% of.*isoclock profile streets tiny kd",
    ):
        plan(empty_study, "kd", strict=True)
    assert plan(empty_study, "kd").marks == ["noisy", "input-bound"], "outside a study it is marked"


def test_a_study_that_loaders_cannot_feed_is_reported_how_far(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5, marks=["input-bound"], loader_share=1.4)
    accept(empty_study)
    with pytest.raises(
        UserError, match=r"12% of a step waits for data, loader processes are busy for 140% of a step\)"
    ):
        plan(empty_study, "kd", strict=True)


def test_a_study_refuses_a_budget_from_a_marked_yardstick(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.0, marks=["noisy"])
    put_profile(empty_study, "cwd", 1.0)
    accept(empty_study)
    with pytest.raises(UserError, match=r"kd\.json: .*marked noisy.*--refresh-budget"):
        plan(empty_study, "cwd", strict=True)
    plan(empty_study, "cwd")


def test_a_budget_of_another_device_kind_is_refused(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.0)
    accept(empty_study)
    put_profile(empty_study, "cwd", 1.0, device_kind="cuda:big")
    with pytest.raises(UserError, match=r"compute-6.*cpu:test.*cuda:big.*--refresh-budget"):
        plan(empty_study, "cwd")


def test_a_budget_without_a_yardstick_has_no_device_kind(empty_study: TinyStudy) -> None:
    accept(empty_study, "iteration-6")
    put_profile(empty_study, "cwd", 1.0, device_kind="cuda:big")
    assert plan(empty_study, "cwd", "iteration-6").device_kind == "cuda:big"


def test_documents_say_under_which_version_they_were_made(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    assert accept(empty_study).protocol_version == plan(empty_study, "kd").protocol_version == VERSION


def test_a_profile_of_another_version_is_refused(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    accept(empty_study)
    put_profile(empty_study, "cwd", 1.0, protocol_version=VERSION + 1)
    printed = rf"cwd\.json: made under version {VERSION + 1} .* this is version {VERSION}; .*isoclock profile streets tiny cwd"
    with pytest.raises(ArtifactError, match=printed):
        plan(empty_study, "cwd")
    without = plain(profile(1.0, method="cwd"))
    del without["protocol_version"]
    write_json(empty_study.layout.profile(*WHERE, "cwd"), without)
    with pytest.raises(ArtifactError, match=r"cwd\.json: made under version 1 of the protocol"):
        plan(empty_study, "cwd")
    assert not empty_study.layout.plan(*WHERE, "cwd", "compute-6").exists()


def test_no_budget_is_resolved_with_a_yardstick_of_another_version(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5, protocol_version=1)
    with pytest.raises(ArtifactError, match=r"kd\.json: made under version 1 .*isoclock profile streets tiny kd"):
        accept(empty_study)
    assert not empty_study.layout.accepted_budget(*WHERE, "compute-6").exists()


def test_a_budget_of_another_version_is_refused_and_never_accepted_again(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        for module in ("grid.stamps", "protocol"):
            before.setattr(f"isoclock.{module}.VERSION", 1)
        put_profile(empty_study, "kd", 1.5, protocol_version=1)
        assert accept(empty_study).anchor_steps == 9.0
    put_profile(empty_study, "kd", 2.0)
    with pytest.raises(
        ArtifactError, match=r"compute-6\.json: made under version 1 .*isoclock plan streets tiny compute-6\)"
    ):
        plan(empty_study, "kd")
    assert accept(empty_study).anchor_steps == 12.0, "though nothing in params/ changed"
    assert plan(empty_study, "kd").iterations == 6


def test_what_is_missing_names_its_verb(empty_study: TinyStudy) -> None:
    with pytest.raises(ArtifactError, match=r"kd\.json: not there; `isoclock profile streets tiny kd` makes it"):
        accept(empty_study)
    put_profile(empty_study, "cwd", 1.0)
    with pytest.raises(
        ArtifactError, match=r"accepted/compute-6\.json: not there; `isoclock plan streets tiny compute-6` makes it"
    ):
        plan(empty_study, "cwd")


@pytest.mark.parametrize("ratio", [2.0, 2.039, 1.961])
def test_a_new_profile_within_reach_re_emits_the_accepted_one(tmp_path: Path, ratio: float) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "kd.json"
    accept_profile(profile(2.0, measured_unix=1), accepted_path, output, 0.02)
    before = output.read_bytes()
    output.unlink()
    accept_profile(profile(ratio, measured_unix=2), accepted_path, output, 0.02)
    assert output.read_bytes() == accepted_path.read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 2.05},
        {"ratio": 1.95},
        {"digests": {"code": "other"}},
        {"device_kind": "cuda:big"},
        {"threads": 2},
        {"protocol_version": 1},
    ],
)
def test_what_is_no_comparison_is_accepted_anew(tmp_path: Path, changes: dict[str, Any]) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "kd.json"
    accept_profile(profile(2.0), accepted_path, output, 0.02)
    new = profile(changes.pop("ratio", 2.0), **changes, measured_unix=2)
    assert accept_profile(new, accepted_path, output, 0.02) == new
    assert read(output, Profile, "profile") == read(accepted_path, Profile, "profile") == new


def test_a_marked_profile_is_replaced_by_a_clean_one(tmp_path: Path) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "kd.json"
    accept_profile(profile(2.0, marks=["noisy"]), accepted_path, output, 0.02)
    assert accept_profile(profile(2.001), accepted_path, output, 0.02).marks == []


def test_a_clean_profile_is_kept_where_the_new_one_is_marked(tmp_path: Path) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "kd.json"
    accept_profile(profile(2.0), accepted_path, output, 0.02)
    assert accept_profile(profile(2.001, marks=["noisy"]), accepted_path, output, 0.02).marks == []


def test_a_budget_follows_the_recipe_and_not_the_yardsticks_own_params(empty_study: TinyStudy) -> None:
    put_profile(empty_study, "kd", 1.5)
    assert accept(empty_study).anchor_steps == 9.0
    put_profile(empty_study, "kd", 2.0)
    empty_study.edit("methods.yaml", "weights: {kd: 1.0}", "weights: {kd: 2.0}")
    empty_study.edit("methods.yaml", "params: {temperature: 1.0}", "params: {temperature: 2.0}")
    assert accept(empty_study).anchor_steps == 9.0
    empty_study.edit("training.yaml", "batch: 2", "batch: 4")
    assert accept(empty_study).anchor_steps == 12.0


def test_a_busy_hour_does_not_move_an_accepted_cost_for_good(tmp_path: Path) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "output.json"
    accepted = accept_profile(profile(1.5), accepted_path, output, 0.02)
    noisy = accept_profile(profile(1.7, marks=["noisy"]), accepted_path, output, 0.02)
    assert read(output, Profile, "profile") == noisy != accepted, "what was measured is shown"
    assert accept_profile(profile(1.51), accepted_path, output, 0.02) == accepted, (
        "and the clean one is still remembered"
    )


def test_a_damaged_accepted_profile_does_not_cost_the_measurement(tmp_path: Path) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "output.json"
    accepted_path.write_text("[]")
    new = profile(1.5)
    with pytest.warns(UserWarning, match=r"accepted_path\.json: .* \(the new measurement replaces it\)"):
        assert accept_profile(new, accepted_path, output, 0.02) == new
    assert read(output, Profile, "profile") == read(accepted_path, Profile, "profile") == new


def test_a_profile_of_another_recipe_is_no_comparison(tmp_path: Path) -> None:
    accepted_path, output = tmp_path / "accepted_path.json", tmp_path / "output.json"
    accept_profile(profile(1.5), accepted_path, output, 0.02)
    other = profile(1.5, digests={"inputs": "another batch"})
    assert accept_profile(other, accepted_path, output, 0.02) == other


def test_a_budget_below_a_checkpoint_interval_names_method_and_budget(empty_study: TinyStudy) -> None:
    empty_study.edit("training.yaml", "checkpoint_every_s: 1000.0", "checkpoint_every_s: 1.3")
    put_profile(empty_study, "kd", 2.0)
    accept(empty_study)
    printed = (
        r"budgets\.compute-6: 6 iterations of kd take 1.2 s, less than a checkpoint interval .*checkpoint_every_s: 1.3"
    )
    with pytest.raises(ParamsError, match=printed):
        plan(empty_study, "kd", strict=True)
    assert not empty_study.layout.plan(*WHERE, "kd", "compute-6").exists()
    assert plan(empty_study, "kd").iterations == 6, "a demo may be over before its first checkpoint"


@pytest.mark.parametrize(
    ("old", "now", "said"),
    [
        ({}, {}, "measured before: ratio 1.500, which is kept if the new one is within 2% of it"),
        ({"marks": ["noisy"]}, {}, "measured before, and marked noisy; the new cost counts"),
        ({}, {"threads": 2}, "measured before with other threads (1, now 2); the new cost counts"),
        (
            {},
            {"code": "x", "inputs": "y"},
            "with other code, networks, recipe or method (params/); the new cost counts",
        ),
    ],
)
def test_why_a_profile_is_measured_again(tmp_path: Path, old: dict[str, Any], now: dict[str, Any], said: str) -> None:
    path, before = tmp_path / "kd.json", documents.profile(**old)
    keys = ("device_kind", "threads", "protocol_version")
    digests = {key: now.get(key, getattr(before.digests, key)) for key in ("code", "data", "inputs")}
    same = {"digests": digests, **{key: now.get(key, getattr(before, key)) for key in keys}}
    assert why_again(path, same, 0.02) is None, "never measured"
    write(path, before)
    assert said in (why_again(path, same, 0.02) or "")
    path.write_text("{")
    assert why_again(path, same, 0.02) is None, "accept_profile reports a damaged one"
