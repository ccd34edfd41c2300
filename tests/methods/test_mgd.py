import torch
from torch import nn

from isoclock.methods import ChannelSpec, build_method
from isoclock.methods.testing import CLASSES, MethodContract, as_output, labels, outputs


class TestMGD(MethodContract):
    name = "mgd"

    def test_masks_are_fresh_each_time_and_of_the_stated_share(self) -> None:
        method = self.make()
        student = as_output(outputs(self.student))
        first, second = (method.draw(student, labels())["mask_uniform"] for _ in range(2))
        assert not torch.equal(first, second)
        masked = torch.cat([method.draw(student, labels())["mask_uniform"] for _ in range(20)]) > 0.25
        assert 0.72 < masked.float().mean().item() < 0.78

    def test_without_logit_term_no_logits_are_asked_for(self) -> None:
        assert self.make(active_terms={"mgd"}).teacher_needs == {"backbone"}

    def test_without_generative_term_there_is_no_generator(self) -> None:
        method = self.make(active_terms={"cwd_logit"})
        assert method.teacher_needs == {"logits"}
        assert not list(method.parameters())

    def test_equal_channels_need_no_alignment(self) -> None:
        assert isinstance(self.make(student=self.teacher).align, nn.Identity)


class TestMGDAtTheHead(MethodContract):
    name = "mgd"
    teacher = ChannelSpec(backbone=20, head=17)
    params = {"tap": "head", "mask_ratio": 0.5, "logit_temperature": 1.0}


def test_the_generator_has_the_published_size() -> None:
    with torch.device("meta"):
        method = build_method(
            "mgd",
            student=ChannelSpec(512, 128),
            teacher=ChannelSpec(2048, 512),
            num_classes=CLASSES,
            dataset_size=1,
        )
    assert sum(parameter.numel() for parameter in method.generation.parameters()) == 2 * (9 * 2048**2 + 2048)
