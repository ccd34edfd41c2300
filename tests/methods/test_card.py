import inspect

import pytest

from isoclock.errors import ParamsError
from isoclock.methods.card import IMPLEMENTATIONS, REFERENCE, TUNED, card, cards


def test_every_class_states_what_its_card_says() -> None:
    import isoclock.methods

    for name, facts in cards().items():
        found = getattr(isoclock.methods, facts.class_name)
        assert found.card() == facts
        assert inspect.getdoc(found) == facts.definition
        assert found.terms == facts.terms, name
        assert found.params == facts.params, name


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ParamsError, match="unknown method 'kdd'; did you mean 'kd'"):
        card("kdd")


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("kd", {"temperature": 0}, "kd.temperature: 0: must be above 0"),
        ("kd", {"temperature": True}, "kd.temperature: True: must be a finite number"),
        ("kd", {"temperature": float("nan")}, "kd.temperature: nan: must be a finite number"),
        ("kd", {"temperature": "4"}, "kd.temperature: '4': must be a finite number"),
        ("kd", {"mask_ignored": 1}, "kd.mask_ignored: 1: must be true or false"),
        ("mgd", {"mask_ratio": 1.0}, "mgd.mask_ratio: 1.0: must be below 1"),
        ("cwd", {"tap": "neck"}, "cwd.tap: 'neck': must be logit or head or backbone"),
        ("cwd", {"tap": ["head"]}, "cwd.tap: ['head']: must be logit or head or backbone"),
        ("afdcd", {"groups": 2.5}, "afdcd.groups: 2.5: must be an integer"),
        ("none", {"temperature": 1}, "none.temperature: 1: unknown parameter; choose from (it has none)"),
    ],
)
def test_a_wrong_value_is_said_in_one_line(name: str, params: dict[str, object], said: str) -> None:
    assert card(name).problems(params) == [said]


def test_all_problems_come_at_once() -> None:
    found = card("kd").problems(
        {"temperature": -1, "tau": 2}, implementation="fastest", active_terms=frozenset({"cwd"})
    )
    assert len(found) == 4


def test_an_implementation_that_a_method_has_not() -> None:
    assert card("none").problems({}, implementation="tuned") == ["none.implementation: 'tuned': must be reference"]


def test_good_params_are_silent() -> None:
    assert card("cwd").problems({"tap": "head", "temperature": 1, "divisor": "student_channels"}) == []


def test_a_method_has_reference_and_says_what_made_tuned_fast_if_it_has_that() -> None:
    for name, facts in cards().items():
        assert facts.implementations in ((REFERENCE,), IMPLEMENTATIONS), name
        assert bool(facts.made_fast_by) == (TUNED in facts.implementations), name


def test_a_card_of_a_class_elsewhere_is_made_of_its_attributes() -> None:
    from isoclock.methods import KD

    class Hotter(KD):
        """KD at a higher temperature."""

        title = "hotter KD"

    facts = Hotter.card()
    assert (facts.name, facts.class_name, facts.title) == ("hotter", "Hotter", "hotter KD")
    assert (facts.terms, facts.definition) == (("kd",), "KD at a higher temperature.")
    assert KD.card() == cards()["kd"]
