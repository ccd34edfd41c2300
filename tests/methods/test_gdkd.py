import pytest
import torch
import torch.nn.functional as F

from isoclock.errors import ParamsError
from isoclock.methods import Batch
from isoclock.methods.testing import CLASSES, STRIDE, MethodContract, as_output, labels, outputs


class TestGDKD(MethodContract):
    name = "gdkd"

    def test_its_parts_weighted_with_the_teachers_masses_are_plain_kd(self) -> None:
        student, teacher = outputs(self.student), outputs(self.teacher, seed=1, scale=0.3)
        with torch.no_grad():  # such that the teacher's three largest classes have 0.97 everywhere
            logits, top = teacher["logits"], teacher["logits"].topk(3, dim=1).indices
            inside = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, top, True)
            masses = [logits.masked_fill(~part, -torch.inf).logsumexp(1, keepdim=True) for part in (inside, ~inside)]
            logits -= torch.where(inside, masses[0], masses[1] + torch.tensor(0.97 / 0.03).log())
        terms = self.make()(as_output(student), as_output(teacher), labels())
        ours, theirs = F.log_softmax(student["logits"], dim=1), F.softmax(teacher["logits"], dim=1)
        plain = F.kl_div(ours, theirs, reduction="none").sum(1).mean()
        whole = terms["high"] + 0.97 * terms["low_top"] + 0.03 * terms["low_other"]
        assert whole.item() == pytest.approx(plain.item(), rel=1e-4)

    def test_is_zero_where_both_agree(self) -> None:
        student = outputs(self.student)
        for value in self.make()(as_output(student), as_output(student), labels()).values():
            assert value.item() == pytest.approx(0, abs=1e-5)

    def test_a_set_of_one_class_has_no_distribution(self) -> None:
        for top, term in ((1, "low_top"), (CLASSES - 1, "low_other")):
            assert self.call(self.make(top=top))[term].item() == pytest.approx(0, abs=1e-6)

    def test_the_top_classes_leave_one_out(self) -> None:
        with pytest.raises(ParamsError, match=r"gdkd\.top: 5: must be below the number of classes, 5"):
            self.make(top=CLASSES)


class TestMaskedGDKD(MethodContract):
    name = "gdkd"
    params = {"mask_ignored": True, "temperature": 4.0, "top": 2}

    def test_ignored_pixels_do_not_count(self) -> None:
        batch, student = labels(), outputs(self.student)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), batch)
        ignored = batch.target[:, ::STRIDE, ::STRIDE] == 255
        torch.stack(list(terms.values())).sum().backward()
        for name in ("logits", "aux_logits"):
            assert torch.equal(student[name].grad.abs().sum(dim=1) > 0, ~ignored)

    def test_no_label_at_all_is_exactly_zero(self) -> None:
        batch = labels()
        nothing = Batch(torch.full_like(batch.target, 255), batch.index, batch.labelled)
        student = outputs(self.student)
        terms = self.make()(as_output(student), as_output(outputs(self.teacher, seed=1)), nothing)
        assert [value.item() for value in terms.values()] == [0.0] * 6
