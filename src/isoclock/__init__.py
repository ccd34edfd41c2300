"""isoclock: knowledge distillation for semantic segmentation, compared at equal training time."""

__version__ = "0.1.0"
