"""Parameters of architectures, and outputs that losses read of networks, are checked before anything runs."""

from __future__ import annotations

import pytest

from isoclock.errors import ParamsError
from isoclock.models.card import architecture
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
            "models.small.params.neck: 3: unknown parameter; choose from encoder, stem, dilation, pixels, head_channels, "
            "aux_channels, dropout, align_corners",
        ),
        (
            'random\n    provenance: {"*": ours}\n  tiny',
            'resnet18.tv_in1k\n    provenance: {"*": ours}\n  tiny',
            "models.small.weights: 'resnet18.tv_in1k': not a tag of encoder tu-test_resnet; choose one that starts with "
            "test_resnet.",
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


CHECKPOINT = """\
    checkpoint:
      path: w.pth
      format: cirkd
      sha256: {digest}
      source: a server
      licence: MIT
"""


@pytest.mark.parametrize(
    ("model", "changes", "expected"),
    [
        ("small", {"cirkd": "mmseg"}, "models.small.checkpoint.format: 'mmseg': not for pspnet; choose from mmsegmentation, cirkd"),
        ("small", {}, "models.small.params.align_corners: False: must be True for a checkpoint of format cirkd"),
        ("small", {"w.pth": "~/w.pth"}, "models.small.checkpoint.path: '~/w.pth': `~` is not expanded here; write the whole path"),
        ("tiny", {}, "pairs.tiny.student: 'tiny': has a checkpoint, so it is not trained; choose another model"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_imported_is_one_line(
    empty_study: TinyStudy, model: str, changes: dict[str, str], expected: str
) -> None:
    path = empty_study.folder / "params" / "models.yaml"
    text = CHECKPOINT.format(digest="ab" * 32)
    for old, new in changes.items():
        text = text.replace(old, new)
    before, after = path.read_text().split(f"  {model}:\n    architecture")
    after = after.replace("    weights: random\n", text, 1)
    path.write_text(f"{before}  {model}:\n    architecture{after}")
    assert any(line.startswith(f"models.yaml: {expected}") for line in problems(empty_study))


def test_a_model_has_weights_or_a_checkpoint(empty_study: TinyStudy) -> None:
    path = empty_study.folder / "params" / "models.yaml"
    path.write_text(path.read_text().replace("    weights: random\n", "", 1))
    (line,) = problems(empty_study)
    assert line.startswith("models.yaml: models.small: needs either weights, to start training from, or checkpoint")


def test_a_network_without_an_auxiliary_head_goes_with_a_recipe_that_weights_one(plugin_study: TinyStudy) -> None:
    text = (plugin_study.folder / "params" / "training.yaml").read_text().replace("aux_weight: 0.0", "aux_weight: 0.4")
    (plugin_study.folder / "params" / "training.yaml").write_text(text)
    assert plugin_study.params.recipe("streets", "student").aux_weight == 0.4


def test_a_tap_has_to_be_one_of_both_networks(plugin_study: TinyStudy) -> None:
    edit(
        plugin_study.folder / "params" / "models.yaml",
        "    teacher: convformer-wide\n",
        "    teacher: small\n",
    )
    found = problems(plugin_study)  # other strides are no problem: maps are resampled
    assert [line.partition("method ")[2] for line in found] == [
        "huber: it reads stem, which small does not have; choose another tap or model"
    ]
    plugin_study.edit("grids/plugins.yaml", "methods: [none, kd, huber]", "methods: [none, kd]")
    assert plugin_study.params.grids, "a method goes with every pair that has what it reads"


SMP = "architecture: smp\n    params: {decoder: fpn, encoder: resnet18, encoder_stride: 32}\n"


def test_a_stride_may_depend_on_parameters(empty_study: TinyStudy) -> None:
    small = empty_study.folder / "params" / "models.yaml"
    text = small.read_text()
    start, end = text.index("architecture: pspnet"), text.index("    weights: random")
    small.write_text(text[:start] + SMP + text[end:])
    assert architecture("smp").strides(empty_study.params.model("small").params) == {
        "logits": 4,
        "aux_logits": 16,
        "backbone": 32,
        "head": 4,
    }
    edit(small, "encoder_stride: 32", "encoder_stride: 8")
    assert problems(empty_study) == [
        "models.yaml: models.small.params.encoder_stride: 8: does not go with the other parameters; choose from 32"
    ]
