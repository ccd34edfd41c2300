import math

import pytest
import torch

from isoclock.errors import ParamsError
from isoclock.methods.testing import MethodContract, as_output, labels, outputs


class TestCRD(MethodContract):
    name = "crd"
    params = {"negatives": 12, "embedding": 6}

    def test_the_own_row_comes_first_and_the_others_are_fresh(self) -> None:
        method = self.make()
        student = as_output(outputs(self.student))
        first, second = (method.draw(student, labels())["contrast_index"] for _ in range(2))
        assert first.shape == (3, 13)
        assert torch.equal(first[:, 0], labels().index)
        assert not torch.equal(first, second)
        assert first.min() >= 0
        assert first.max() < method.dataset_size

    def test_banks_move_only_in_training_and_only_at_the_batchs_rows(self) -> None:
        method = self.make().eval()
        before = {name: bank.clone() for name, bank in method.named_buffers()}
        self.call(method)
        assert all(torch.equal(bank, before[name]) for name, bank in method.named_buffers())
        self.call(method.train())
        for name in ("memory_v1", "memory_v2"):
            bank = method.get_buffer(name)
            assert torch.equal(bank[3:], before[name][3:])
            assert not (bank[:3] == before[name][:3]).any()
            torch.testing.assert_close(bank[:3].norm(dim=1), torch.ones(3))

    def test_the_constants_are_set_once(self) -> None:
        method = self.make()
        assert method.z_v1.item() == -1
        self.call(method)
        first = method.z_v1.item(), method.z_v2.item()
        assert min(first) > 0
        self.call(method)
        assert (method.z_v1.item(), method.z_v2.item()) == first

    def test_a_value_by_hand(self) -> None:
        method = self.make(negatives=2, embedding=2, dataset_size=4, temperature=1.0).double()
        with torch.no_grad():
            for embed in (method.embed_student, method.embed_teacher):
                embed.weight.zero_()
                embed.bias.copy_(torch.tensor([5.0, 0.0]))
            for bank in (method.memory_v1, method.memory_v2):
                bank.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [2.0, 2.0]]))
            method.z_v1.fill_(3)
            method.z_v2.fill_(3)
        student, teacher = outputs(self.student, images=1), outputs(self.teacher, images=1)
        value = method(
            as_output({name: leaf.double() for name, leaf in student.items()}),
            as_output({name: leaf.double() for name, leaf in teacher.items()}),
            labels(1),
            draw={"contrast_index": torch.tensor([[0, 1, 1]])},
        )["crd"]
        positive, negative, noise = math.e / 3, 1 / 3, 2 / 4
        each = math.log(positive / (positive + noise + 1e-7)) + 2 * math.log(noise / (negative + noise + 1e-7))
        assert value.item() == pytest.approx(-2 * each, rel=1e-12)

    def test_the_number_of_samples_must_be_known(self) -> None:
        with pytest.raises(ParamsError, match="dataset_size"):
            self.make(dataset_size=0)
        self.make(dataset_size=0, active_terms=set())


class TestCRDAtTheBackboneWithMoreNegativesThanSamples(MethodContract):
    name = "crd"
    params = {"tap": "backbone", "negatives": 200, "embedding": 16, "momentum": 0.9, "temperature": 0.2}
