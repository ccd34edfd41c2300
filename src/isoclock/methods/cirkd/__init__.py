"""Cross-image relational distillation (Yang et al., CVPR 2022, arXiv 2204.06986): how pixels relate across images."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isoclock.kernels.grouping import mean_over_groups
from isoclock.kernels.labels import labels_on_grid
from isoclock.kernels.precision import in_loss_precision
from isoclock.labels import IGNORE
from isoclock.methods.cirkd.bank import KEY_BITS, Pushes, Ring, enqueue_at_once, enqueue_by_loops
from isoclock.methods.cirkd.memory import BatchNorm, divergence_from_keys, streamed_divergence_from_keys
from isoclock.methods.cirkd.minibatch import fast_pairwise_divergence, pairwise_divergence
from isoclock.methods.contract import Batch, Draw, Method
from isoclock.models.outputs import SegmenterOutput

RINGS = {"pixel_memory": "pixel", "region_memory": "region"}
"""The memory terms, and what the buffers, draws and sizes of each begin with."""


class CIRKD(Method):
    """Softmax over similarities, in the student and in the teacher, and the KL divergence of the two.

    With f the features at `tap`, of unit length at each of the N = h w pixels, and softmax over the last index:

    minibatch = 1 / (B^2 N) sum over i, j, n of KL(softmax_m(f^T_in . f^T_jm / tau) || same of f^S), over all ordered
    pairs of B images, i = j too, without a projector. `pool: average` first averages f over 2x2 windows. B are the images
    of one device: the term is the mean over groups of `images_per_group` consecutive images (0: the batch is one group).

    pixel_memory, region_memory = T^2 / |V| sum over n in V of KL(softmax_m(f^T_n . k_m / (tau T)) || same of P f^S), V
    the pixels of the batch that have a label, T the `kd_temperature`, P a projector (1x1 conv, batch norm, ReLU, 1x1
    conv) from C_S to C_T channels, k the teacher's features of earlier batches: of every class' ring the same
    `*_contrast_size` random slots (0: 4096 // K + 1 pixels, 1024 // K + 1 regions). Rings are K x size x C_T, unit
    vectors, random at first. Before use, image by image, each class present pushes its mean feature to its region ring
    and up to `pixel_update` random pixels to its pixel ring; a push that would reach the ring's end takes its last
    slots instead, and the next one begins at 0.

    `published_sampling` restores a defect of the published code: it draws numbers out of range(pixels of the class)
    and takes the *map's* pixels of these numbers, of any class.
    """

    title = "cross-image relational distillation"
    source = (
        "Yang et al. 2022, arXiv 2204.06986; winycg/CIRKD@2d8ad0f"
        " losses/cirkd_mini_batch.py, losses/cirkd_memory.py, train_cirkd.py"
    )
    terms = ("minibatch", "pixel_memory", "region_memory")
    published = {
        "minibatch": "weight 1, tau 0.1, no pooling, 2 images on each of 8 GPUs (CIRKD, Cityscapes and ADE20K)",
        "pixel_memory": "weight 0.1, tau 0.1, 20000 slots a class, 4096 // K + 1 keys a class (CIRKD)",
        "region_memory": "weight 0.1, tau 0.1, 2000 slots a class, 1024 // K + 1 keys a class (CIRKD)",
    }
    params = {
        "tap": {"type": "choice", "of": ("head", "backbone"), "default": "head"},
        "tau": {"type": "number", "at_least": 0.03, "default": 0.1},
        "pool": {"type": "choice", "of": ("none", "average"), "default": "none"},
        "images_per_group": {"type": "integer", "at_least": 0, "default": 2},
        "kd_temperature": {"type": "number", "at_least": 0.5, "default": 1.0},
        "pixel_memory_size": {"type": "integer", "at_least": 1, "default": 20000},
        "region_memory_size": {"type": "integer", "at_least": 1, "default": 2000},
        "pixel_contrast_size": {"type": "integer", "at_least": 0, "default": 0},
        "region_contrast_size": {"type": "integer", "at_least": 0, "default": 0},
        "pixel_update": {"type": "integer", "at_least": 1, "default": 16},
        "published_sampling": {"type": "flag", "default": False},
    }
    implementations = ("reference", "tuned")
    reads = {"minibatch": ("{tap}",), "pixel_memory": ("{tap}",), "region_memory": ("{tap}",)}
    cost = (
        "minibatch, for each group of B images: (B N)^2 (3 C_S + C_T) multiplications and two N x N maps kept for each of"
        " B^2 pairs as published; as tuned no map, and (B N)^2 (2 C_S + C_T) multiplications in torch, (B N)^2 (3 C_S +"
        " 2 C_T) in Triton, on tensor cores; memory: 3 B N M C_T for M keys (5130 with 19 classes) in both, and two rings"
        " of K x 20000 and K x 2000 x C_T (0.86 GB at K = 19, C_T = 512)"
    )
    made_fast_by = (
        "no N x N map: two passes over tiles of one (B N) x (B N) problem, exponentials without a shift, (G + G^t) F"
        " in one product, gradient in the forward pass. `pairwise_implementation` chooses: Triton kernels on GPUs"
        " of capability 8.0 and above for products in bf16, fp16 or TF32 (not measured on a GPU), else tiles in"
        " torch, above the diagonal only; memory: no map of all pixels, gradient from the same exponentials;"
        " rings pushed at once by sorted keys, a one-hot product and computed slots"
    )

    def build(self) -> None:
        """The projector and the rings (buffers `*_queue`, `*_ptr`) of the active memory terms."""
        ours, theirs = (spec.of(self.settings["tap"]) for spec in (self.student_channels, self.teacher_channels))
        self.rings = [RINGS[term] for term in self.terms if term in self.active_terms and term in RINGS]
        for ring in self.rings:
            queue = torch.randn(self.num_classes, self.settings[f"{ring}_memory_size"], theirs)
            self.register_buffer(f"{ring}_queue", F.normalize(queue, dim=2))
            self.register_buffer(f"{ring}_ptr", torch.zeros(self.num_classes, dtype=torch.int64))
        if self.rings:
            self.projector = nn.Sequential(
                nn.Conv2d(ours, theirs, 1, bias=False),
                BatchNorm(theirs),
                nn.ReLU(inplace=True),
                nn.Conv2d(theirs, theirs, 1, bias=False),
            )

    def draw(self, student: SegmenterOutput, batch: Batch) -> Draw:  # noqa: ARG002
        """The random tensors of the memory terms.

        "enqueue_keys": (B, N) int64; a class' pixels are pushed in ascending order of their keys.
        "pixel_perm", "region_perm": permutations of a ring's slots, of which a step uses the first.
        """
        if not self.rings:
            return {}
        feature = student.features[self.settings["tap"]]
        where: dict[str, Any] = {"generator": self.generator(feature.device), "device": feature.device}
        drawn = {f"{ring}_perm": torch.randperm(self.settings[f"{ring}_memory_size"], **where) for ring in self.rings}
        if "pixel" in self.rings:
            shape = (len(feature), feature.shape[2] * feature.shape[3])
            drawn["enqueue_keys"] = torch.randint(1 << KEY_BITS, shape, **where)
        return drawn

    def compute(
        self, student: SegmenterOutput, teacher: SegmenterOutput, batch: Batch, draw: Draw
    ) -> dict[str, Tensor]:
        """{"minibatch": scalar, "pixel_memory": scalar, "region_memory": scalar}, as far as active."""
        ours, theirs = (output.features[self.settings["tap"]] for output in (student, teacher))
        terms = {}
        if "minibatch" in self.active_terms:
            pair = ours, theirs
            if self.settings["pool"] == "average":
                pair = pooled(ours), pooled(theirs)
            divergence = pairwise_divergence if self.implementation == "reference" else fast_pairwise_divergence
            terms["minibatch"] = mean_over_groups(
                partial(divergence, tau=self.settings["tau"]), self.settings["images_per_group"], *pair
            )
        if self.rings:
            terms |= self._memory_terms(ours, theirs, batch, draw)
        return terms

    def _memory_terms(self, ours: Tensor, theirs: Tensor, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        reference = self.implementation == "reference"
        labels = labels_on_grid(batch.target, (ours.shape[2], ours.shape[3])).flatten(1)
        theirs = in_loss_precision(theirs)
        if self.training:
            pushes = Pushes(
                theirs,
                labels,
                draw.get("enqueue_keys"),
                self.settings["pixel_update"],
                self.settings["published_sampling"],
            )
            (enqueue_by_loops if reference else enqueue_at_once)(
                pushes, {ring: self._ring(ring) for ring in self.rings}
            )
        keys = {ring: self._keys(ring, draw[f"{ring}_perm"], in_a_loop=reference) for ring in self.rings}
        divergence = divergence_from_keys if reference else streamed_divergence_from_keys
        values = divergence(
            self.projector(ours),
            theirs,
            list(keys.values()),
            labels != IGNORE,
            self.settings["tau"],
            self.settings["kd_temperature"],
        )
        return dict(zip((term for term in self.terms if RINGS.get(term) in keys), values, strict=True))

    def _ring(self, ring: str) -> Ring:
        return Ring(self.get_buffer(f"{ring}_queue"), self.get_buffer(f"{ring}_ptr"))

    def _keys(self, ring: str, permutation: Tensor, *, in_a_loop: bool) -> Tensor:
        """The sampled slots of every class, (K c, C_T), class by class."""
        most = {"pixel": 4096, "region": 1024}[ring]
        slots = permutation[: self.settings[f"{ring}_contrast_size"] or most // self.num_classes + 1]
        queue = self._ring(ring).queue
        if not in_a_loop:
            return queue.index_select(1, slots).flatten(0, 1)
        keys = queue.new_zeros(len(queue) * len(slots), queue.shape[2])
        for c, of_class in enumerate(queue):
            keys[c * len(slots) : (c + 1) * len(slots)] = of_class[slots]
        return keys


def pooled(feature: Tensor) -> Tensor:
    """Means over 2x2 windows; at an odd border over the existing pixels."""
    return F.avg_pool2d(in_loss_precision(feature), 2, ceil_mode=True)
