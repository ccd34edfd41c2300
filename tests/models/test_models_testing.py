"""The public checks of architectures pass for a good one, and name what is wrong with a bad one."""

from __future__ import annotations

import pytest

from isoclock.models.testing import CHECKS, check_architecture
from isoclock.testing import name_of
from tiny_study import TinyStudy, edit

FAULTS = {
    "facts": ('further={"stem": width}', "further={}", "unknown tap"),
    "outputs_are_those_wanted": ("want & self.taps.keys()", "found.keys() & self.taps.keys()", "asked for"),
    "shapes": ('"backbone": 8, "head": 4}', '"backbone": 4, "head": 4}', r"backbone of images of \d+ x \d+ is"),
    "unwanted_is_not_computed": ('if want & {"head", "logits"}:', 'if want - {"stem"}:', "operations of backbone"),
    "unknown_output_is_refused": ("        self.check_wanted(want)\n", "", "must raise ValueError"),
    "values_do_not_depend_on_what_is_wanted": (
        "        logits = self",
        '        if want == {"logits"}:\n            found["head"] = 2 * found["head"]\n        logits = self',
        "logits alone has other values",
    ),
    "gradients_reach_every_parameter": (
        "        self.num_classes = num",
        "        self.unused = nn.Linear(1, 1)\n        self.num_classes = num",
        r"no gradient reaches unused\.weight",
    ),
    "seed_decides_weights": (
        "        self.num_classes = num",
        "        nn.init.normal_(self.qkv.weight, generator=torch.Generator().manual_seed(torch.seed()))\n"
        "        self.num_classes = num",
        "one seed gave two networks",
    ),
    "state_dict_is_complete": (
        "self.fuse(torch.cat([found",
        "self.fuse(self.hidden[0] * torch.cat([found",
        "does not carry all",
    ),
    "bfloat16_channels_last": (
        'found["head"] = F.relu(',
        'found["head"] = (1e4 if torch.is_autocast_enabled("cpu") else 1) * F.relu(',
        "head under bfloat16 differs",
    ),
}


def test_a_good_architecture_passes(plugin_study: TinyStudy) -> None:
    check_architecture("convformer", width=8)


def test_there_is_a_fault_for_every_check() -> None:
    assert list(FAULTS) == [name_of(check) for check in CHECKS]


@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_is_found_by_its_check(plugin_study: TinyStudy, check: str) -> None:
    path = plugin_study.folder / "plugins" / "models" / "convformer.py"
    old, new, message = FAULTS[check]
    edit(path, old, new)
    if "self.hidden" in new:
        hidden = "        self.hidden = [torch.rand(1)]\n"
        edit(path, "        self.num_classes = num", f"{hidden}        self.num_classes = num")
    with pytest.raises(Exception, match=message) as caught:
        check_architecture("convformer", width=8)
    if isinstance(caught.value, AssertionError):
        assert str(caught.value).startswith(f"convformer: {check}: ")
