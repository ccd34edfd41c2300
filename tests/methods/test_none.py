from isoclock.methods.testing import MethodContract


class TestNoDistillation(MethodContract):
    name = "none"

    def test_needs_no_teacher(self) -> None:
        assert self.make().teacher_needs == frozenset()
