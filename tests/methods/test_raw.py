import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestRaw(MethodContract):
    name = "raw"

    def test_it_is_one_minus_the_cosine_at_each_pixel(self) -> None:
        method = self.make(student=self.teacher)
        torch.nn.init.dirac_(method.projector.weight)
        student, teacher = (outputs(self.teacher, seed=seed)["head"] for seed in (1, 2))
        expected = 1 - torch.cosine_similarity(student, teacher, dim=1).mean()
        for factor in (1.0, 9.0):  # lengths do not matter
            terms = method(as_output({"head": factor * student}), as_output({"head": teacher}), labels())
            assert terms["angular"].item() == pytest.approx(expected.item(), rel=1e-5)

    def test_pixels_without_any_feature_give_no_nan(self) -> None:
        method = self.make()
        student, teacher = outputs(self.student), outputs(self.teacher)
        dead = {"head": torch.zeros_like(student["head"], requires_grad=True)}
        value = method(as_output(dead), as_output(teacher), labels())["angular"]
        value.backward()
        assert value.item() == pytest.approx(0.5)
        assert dead["head"].grad.isfinite().all()

    def test_it_calls_itself_a_reconstruction(self) -> None:
        facts = self.make().card()
        assert "reconstructed" in facts.title
        assert "reconstruction" in facts.source


class TestRawAlongChannels(MethodContract):
    name = "raw"
    params = {"axis": "channel", "tap": "backbone"}


class TestRawCorrelation(MethodContract):
    name = "raw"
    least_images = 2  # of one pixel: a batch norm takes no single value
    params = {"axis": "centred-channel", "projector": "conv-bn"}
