"""Learning-rate schedules. They know progress, not iterations: a rescaled budget rescales them exactly."""

from __future__ import annotations


def poly_lr(progress: float, *, lr: float, power: float, min_lr: float = 0.0) -> float:
    """Polynomial decay from `lr` at progress 0 to `min_lr` at progress 1: (lr - min_lr) (1 - progress)^power + min_lr.

    The schedule of DeepLab (arXiv 1606.00915, section 4), with the floor of mmsegmentation's `PolyLR`.
    Raises ValueError for a progress outside 0..1.
    """
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is {progress}, outside 0..1")
    return (lr - min_lr) * (1.0 - progress) ** power + min_lr
