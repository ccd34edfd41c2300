import pytest
import torch

from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestDIST(MethodContract):
    name = "dist"

    def test_equal_to_correlations_by_numpy(self) -> None:
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        terms = self.make(images_per_group=0)(as_output(student), as_output(teacher), labels())
        ours, theirs = (
            each["logits"].detach().softmax(dim=1).movedim(1, -1).flatten(0, 2) for each in (student, teacher)
        )
        pixels = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(ours, theirs, strict=True)])
        classes = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(ours.T, theirs.T, strict=True)])
        assert terms["inter"].item() == pytest.approx(1 - pixels.mean().item(), rel=1e-5)
        assert terms["intra"].item() == pytest.approx(1 - classes.mean().item(), rel=1e-5)

    def test_without_auxiliary_terms_the_teacher_runs_no_auxiliary_head(self) -> None:
        assert self.make(active_terms={"inter", "intra"}).teacher_needs == {"logits"}
        assert self.make(active_terms={"aux_intra"}).teacher_needs == {"aux_logits"}

    def test_is_zero_where_both_agree(self) -> None:
        student = outputs(self.student)
        for value in self.make()(as_output(student), as_output(student), labels()).values():
            assert value.item() == pytest.approx(0, abs=1e-5)

    def test_a_class_that_nobody_sees_has_no_correlation(self) -> None:
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1)
        with torch.no_grad():
            student["logits"][:, 0] = -1000.0
            teacher["logits"][:, 0] = -1000.0
        with_it = self.make()(as_output(student), as_output(teacher), labels())["intra"]
        student["logits"], teacher["logits"] = student["logits"][:, 1:], teacher["logits"][:, 1:]
        without = self.make(num_classes=4)(as_output(student), as_output(teacher), labels())["intra"]
        assert with_it.item() == pytest.approx((1 + 4 * without.item()) / 5, rel=1e-5)
