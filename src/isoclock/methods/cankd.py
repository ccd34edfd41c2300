"""CanKD (Sun and Ohyama, WACV 2026, arXiv 2511.21503): the student's feature attends to the teacher's, without a softmax."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.errors import ParamsError
from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.precision import in_loss_precision
from isoclock.kernels.projector import build_projector
from isoclock.methods.card import TUNED
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

POOL = 2


class CanKD(Method):
    """L = 1/2 mean over B, C_T, h, w of (IN(z) - IN(f^T))^2, z = BN(W (A g(f^T))) + s, s = P f^S.

    A = theta(s)^t phi(f^T) / M is the similarity of each of the N = h w pixels of the student to M pooled pixels of the
    teacher, without a softmax. theta, phi and g are 1x1 convolutions with bias to C' = max(1, C_T // 2) channels, W is one
    back to C_T; the outputs of phi and g are max-pooled 2x2 (an odd side loses its last row or column), so M is about
    N / 4. P is a 1x1 convolution with bias. IN makes every channel of every image mean 0 and deviation 1 (the root of the
    variance + 1e-5).

    BN starts with weight and bias 0, so that z = s: at first this is feature KD of standardised maps. Its statistics are
    those of the images of one device: L is the mean over groups of `images_per_group` consecutive images (0: the batch is
    one group). A constant of a channel does not count, so the biases of W and BN have no gradient.
    """

    title = "cross-attention distillation (CanKD)"
    source = "Sun and Ohyama 2026, arXiv 2511.21503; tori-hotaru/CanKD@f951e3a mmrazor/models/losses/nlkd_IN_loss.py"
    terms = ("cankd",)
    published = {
        "cankd": "weight 10 (PSPNet-R101 to DeepLabV3-R18: 20), tap backbone, 2 images on each GPU (tori-hotaru/CanKD)"
    }
    params = {
        "tap": {"type": "choice", "of": ("backbone", "head"), "default": "backbone"},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 2},
    }
    implementations = ("reference", "tuned")
    reads = {"cankd": ("{tap}",)}
    cost = (
        "N C_S C_T + 2 N C_T^2 multiplications for P, theta, phi, g and W, and for the attention N M C_T as published,"
        " (N + M) C_T^2 / 4 as tuned; forward, for each image. At the backbone, 512x1024: 77 GMAC, and 34.4 or 10.7 for the"
        " attention"
    )
    made_fast_by = (
        "theta^t (phi g^t) in place of (theta^t phi) g^t: without a softmax the two are equal, and no N x M map exists"
    )

    def build(self) -> None:
        """The projector, and the attention at C_T channels: 4 C_T C' values in its four convolutions."""
        tap = self.settings["tap"]
        ours, theirs = self.student_channels.of(tap), self.teacher_channels.of(tap)
        inner = max(1, theirs // 2)
        self.projector = build_projector("conv-bias", ours, theirs)
        nn.init.kaiming_normal_(self.projector.get_parameter("weight"), mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.projector.get_parameter("bias"))
        self.theta, self.phi, self.g = (nn.Conv2d(theirs, inner, 1) for _ in range(3))
        norm = nn.BatchNorm2d(theirs)
        nn.init.zeros_(norm.weight)
        self.W = nn.Sequential(nn.Conv2d(inner, theirs, 1), norm)

    def compute(
        self,
        student: SegmenterOutput,
        teacher: SegmenterOutput,
        batch: Batch,  # noqa: ARG002
        draw: Draw,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """{"cankd": scalar}. Raises ParamsError for a map with a side of 1, which cannot be pooled."""
        ours, theirs = student.features[self.settings["tap"]], teacher.features[self.settings["tap"]]
        if min(theirs.shape[2:]) < POOL:
            raise ParamsError(f"cankd: a map of {theirs.shape[2]}x{theirs.shape[3]} is too small; choose a larger crop")
        return {"cankd": mean_over_groups(self._distance, self.settings["images_per_group"], ours, theirs)}

    def _distance(self, ours: Tensor, theirs: Tensor) -> Tensor:
        projected = self.projector(ours)
        attended = self.W(self._attended(projected, theirs))
        corrected = in_loss_precision(attended) + in_loss_precision(projected)
        return F.mse_loss(F.instance_norm(corrected), F.instance_norm(in_loss_precision(theirs))) / 2

    def _attended(self, projected: Tensor, theirs: Tensor) -> Tensor:
        """A g(f^T), (B, C', h, w)."""
        queries = self.theta(projected).flatten(2)  # (B, C', N)
        keys, values = (F.max_pool2d(layer(theirs), POOL).flatten(2) for layer in (self.phi, self.g))  # (B, C', M)
        if self.implementation == TUNED:
            attended = (values @ keys.mT / keys.shape[2]) @ queries
        else:
            similarity = queries.mT @ keys / keys.shape[2]  # (B, N, M)
            attended = (similarity @ values.mT).mT.contiguous()
        return attended.unflatten(2, theirs.shape[2:])
