from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from isoclock.errors import ParamsError
from isoclock.hints import FEW, choices, number_hint, similar
from isoclock.params.check import load_params
from tiny_study import TinyStudy

MANY = [f"method-{number}" for number in range(FEW)] + ["fitnet", "fitnet-bn", "KD"]


@pytest.mark.parametrize(
    ("name", "known", "said"),
    [
        ("kd", [], "choose from (it has none)"),
        ("kdd", ["none", "kd"], "choose from none, kd"),
        ("fitnt", MANY, "did you mean 'fitnet' or 'fitnet-bn'?"),
        ("kd", MANY, "did you mean 'KD'?"),
        ("zzz", MANY, "choose from method-0, method-1, method-2 and 12 more"),
    ],
)
def test_few_names_are_listed_and_of_many_the_similar_ones(name: str, known: list[str], said: str) -> None:
    assert choices(name, known) == said


def test_the_most_similar_name_is_first() -> None:
    assert similar("compute-41", ["compute-140", "iteration-40", "compute-400", "compute-4"])[0] == "compute-4"


@pytest.mark.parametrize("value", ["5e-4", "5.e4", "1E3", "-2.5e10", "+5e+2"])
def test_the_hint_is_the_same_number_as_yaml_reads_it(value: str) -> None:
    assert isinstance(yaml.safe_load(value), str), "no hint is needed"
    assert yaml.safe_load(number_hint(value).rpartition(" ")[2]) == float(value)


@pytest.mark.parametrize("value", [5e-4, "fast", "5", None, "1e", "0x1e-4"])
def test_other_values_get_no_hint(value: object) -> None:
    assert number_hint(value) == ""


def test_params_say_how_to_write_it(empty_study: TinyStudy) -> None:
    empty_study.edit("training.yaml", "weight_decay: 5.0e-4", "weight_decay: 5e-4")
    empty_study.edit("methods.yaml", "{tap: logit, temperature: 4.0}", "{tap: logit, temperature: 4e0}")
    with pytest.raises(ParamsError) as caught:
        load_params(Path(empty_study.folder / "params"))
    assert "YAML reads 5e-4 as text: write 5.0e-4" in str(caught.value)
    empty_study.edit("training.yaml", "weight_decay: 5e-4", "weight_decay: 5.0e-4")
    with pytest.raises(ParamsError, match=r"temperature: '4e0': must be a finite number; .*: write 4\.0e\+0"):
        load_params(Path(empty_study.folder / "params"))
