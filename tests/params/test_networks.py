"""Parameters of architectures, and outputs that losses read of networks, are checked before anything runs."""

from __future__ import annotations

import pytest

from isoclock.errors import ParamsError
from tiny_study import TinyStudy, edit


def problems(study: TinyStudy) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        _ = study.params
    return [problem.removeprefix(f"{study.folder}/params/") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("head_channels: 24", "head_channels: 0", "models.small.params.head_channels: 0: must be at least 1"),
        ("head_channels: 24", "head_channels: 2.5", "models.small.params.head_channels: 2.5: must be an integer"),
        ("      head_channels: 24\n", "", "models.small.params.head_channels: missing; it has no default"),
        (
            "head_channels: 24",
            "head_channels: 24\n      neck: 3",
            "models.small.params.neck: 3: unknown parameter; choose from encoder, head_channels, aux_channels, dropout",
        ),
        (
            'random\n    provenance: {"*": ours}\n  tiny',
            '~/w.pth\n    provenance: {"*": ours}\n  tiny',
            "models.small.weights: '~/w.pth': `~` is not expanded here; write the whole path",
        ),
    ],
)
def test_an_unfit_parameter_is_one_line(empty_study: TinyStudy, old: str, new: str, expected: str) -> None:
    empty_study.edit("models.yaml", old, new)
    assert problems(empty_study) == [f"models.yaml: {expected}"]


def test_an_auxiliary_loss_needs_an_auxiliary_head(plugin_study: TinyStudy) -> None:
    text = (plugin_study.folder / "params" / "training.yaml").read_text().replace("aux_weight: 0.0", "aux_weight: 0.4")
    (plugin_study.folder / "params" / "training.yaml").write_text(text)
    found = problems(plugin_study)
    assert len(found) == 4, "student and teacher on both data sets"
    assert found[0] == (
        "grids/plugins.yaml: blocks[0]: student convformer-slim: it has no auxiliary head, and streets.student in "
        "training.yaml has aux_weight 0.4; set it to 0"
    )


def test_a_tap_has_to_be_one_of_both_networks(plugin_study: TinyStudy) -> None:
    edit(
        plugin_study.folder / "params" / "models.yaml",
        "    teacher: convformer-wide\n",
        "    teacher: small\n",
    )
    found = problems(plugin_study)
    assert [line.partition("method ")[2] for line in found] == [
        "kd: it compares logits, of stride 4 in convformer-slim and 8 in small; choose networks of one stride",
        "huber: it reads stem, which small does not have; choose another tap or model",
        "kd: it compares logits, of stride 4 in convformer-slim and 8 in small; choose networks of one stride",
    ]
    plugin_study.edit("grids/plugins.yaml", "methods: [none, kd, huber]", "methods: [none]")
    plugin_study.edit("grids/plugins.yaml", "methods: [kd]", "methods: [none]")
    assert plugin_study.params.grids, "a method that reads nothing goes with any pair"
