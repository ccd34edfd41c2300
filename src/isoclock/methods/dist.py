"""DIST (Huang et al., NeurIPS 2022, arXiv 2205.10536): match correlations of predictions, not the predictions."""

from __future__ import annotations

from torch import Tensor

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.precision import in_loss_precision
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import AUX_LOGITS, LOGITS, SegmenterOutput

EPSILON = 1e-8


class DIST(Method):
    """inter = 1 - mean over pixels of rho along classes, intra = 1 - mean over classes of rho along pixels.

    rho is the Pearson correlation of rows or columns of y^S and y^T, y = softmax of the logits as a matrix of M = B h w
    pixels x K classes; 1e-8 is added to the product of norms. The M pixels of the images of one device count together, so
    that intra is the mean over groups of `images_per_group` consecutive images (0: the batch is one group). `aux_inter`
    and `aux_intra` are the same of the auxiliary logits, and make the teacher run its auxiliary head.
    """

    title = "DIST"
    source = "Huang et al. 2022, arXiv 2205.10536; hunto/DIST_KD@2418f18 segmentation/losses/dist_kd.py, train_kd.py"
    terms = ("inter", "intra", "aux_inter", "aux_intra")
    published = {
        "inter": "weight 1 (hunto/DIST_KD, Cityscapes)",
        "intra": "weight 1 (hunto/DIST_KD, Cityscapes)",
        "aux_inter": "weight 0.4 (hunto/DIST_KD, Cityscapes)",
        "aux_intra": "weight 0.4 (hunto/DIST_KD, Cityscapes)",
    }
    params = {"images_per_group": {"type": "integer", "at_least": 0, "default": 2}}
    reads = {"inter": ("logits",), "intra": ("logits",), "aux_inter": ("aux_logits",), "aux_intra": ("aux_logits",)}
    cost = (
        "2 B K h w exponentials and a dozen passes over both maps, twice with auxiliary logits, for which the"
        " teacher runs its auxiliary head (19.4 GMAC a crop of 512x1024)"
    )

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"inter": scalar, "intra": scalar, "aux_inter": scalar, "aux_intra": scalar}, as far as active."""
        terms: dict[str, Tensor] = {}
        for output, prefix in ((LOGITS, ""), (AUX_LOGITS, "aux_")):
            inter, intra = f"{prefix}inter" in self.active_terms, f"{prefix}intra" in self.active_terms
            if not (inter or intra):
                continue
            ours, theirs = student.get(output), teacher.get(output)
            assert ours is not None
            assert theirs is not None
            values = _one_minus_correlations(ours, theirs, self.settings["images_per_group"])
            terms |= {f"{prefix}inter": values[0]} if inter else {}
            terms |= {f"{prefix}intra": values[1]} if intra else {}
        return terms


def _one_minus_correlations(student: Tensor, teacher: Tensor, images: int) -> tuple[Tensor, Tensor]:
    """Both terms, by copies: a row for each pixel, centred, its norm; then the same of each group's transposed matrix."""
    ours, theirs = (
        in_loss_precision(logits).transpose(1, 3).reshape(-1, logits.shape[1]).softmax(dim=1)
        for logits in (student, teacher)
    )
    pixels = student.shape[2] * student.shape[3]
    return 1 - _correlation(ours, theirs).mean(), mean_over_groups(_intra, images * pixels, ours, theirs)


def _intra(ours: Tensor, theirs: Tensor) -> Tensor:
    return 1 - _correlation(ours.T, theirs.T).mean()


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of each row of two matrices."""
    first, second = first - first.mean(dim=1, keepdim=True), second - second.mean(dim=1, keepdim=True)
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + EPSILON)
