"""Fabricates a results folder in the published shapes, small and deterministic, for tests of whoever reads one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

import documents
from documents import digest
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.protocol import VERSION
from isoclock.records.document import write
from isoclock.records.plan import Plan
from isoclock.scoring.metrics import measure

CLASSES = ["road", "sidewalk", "building", "pole", "sky", "person", "car", "train"]
PALETTE = [
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (153, 153, 153),
    (70, 130, 180),
    (220, 20, 60),
    (0, 0, 142),
    (0, 80, 100),
]
COSTS = {
    "kd.tuned": 1.55,
    "cwd.tuned": 1.57,
    "mgd.tuned": 1.9,
    "none": 1.0,
    "kd": 1.62,
    "fitnet": 1.71,
    "cwd": 1.88,
    "mgd": 2.94,
}
SKILL = {"none": 0.395, "kd": 0.438, "fitnet": 0.431, "cwd": 0.442, "mgd": 0.449}
SHARES = {
    "none": (0.03, 0.38, 0.0, 0.01, 0.52, 0.06), "kd": (0.02, 0.23, 0.35, 0.03, 0.33, 0.04),
    "fitnet": (0.02, 0.22, 0.34, 0.05, 0.33, 0.04), "cwd": (0.02, 0.20, 0.31, 0.11, 0.32, 0.04),
    "mgd": (0.01, 0.13, 0.20, 0.30, 0.34, 0.02),
}  # fmt: skip
ANCHOR_S = 0.1042
IMAGES = 12


def cell(method="kd", budget="compute-400", seed=0, dataset="streets", pair="demo") -> Cell:
    return Cell(dataset, pair, method, budget, seed)


class ResultsTree:
    """Adds parts of a study to a folder; `cells` are those of its grid."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.layout = Layout(root)
        self.cells: list[Cell] = []
        self.version = VERSION  # of the protocol, in all that is written from now on

    def teacher(self, dataset="streets", model="pspnet-r18", miou=0.545) -> None:
        per_class = {
            name: None if name == "train" else miou + 0.05 * math.cos(place) for place, name in enumerate(CLASSES)
        }
        found = documents.scores(
            None,
            miou,
            digest(model),
            per_class,
            dataset=dataset,
            metrics={"pixel_accuracy": 0.88},
            images=IMAGES,
            protocol_version=self.version,
        )
        write(self.layout.teacher(dataset, model) / "scores.json", found)

    def profile(self, method: str, dataset="streets", pair="demo", marks=(), ratio=None) -> None:
        ratio = COSTS[method] if ratio is None else ratio
        names = ("data", "student", "teacher", "loss", "backward", "optimiser")
        found = documents.profile(
            method,
            ratio,
            dataset=dataset,
            pair=pair,
            anchor_s=ANCHOR_S,
            shares=dict(zip(names, SHARES[method.removesuffix(".tuned")], strict=True)),
            peak_mib=310 + 90 * ratio,
            marks=list(marks),
            gpu=documents.gpu_state(throttled={"power limit": 0.34}) if method == "mgd" else None,
            protocol_version=self.version,
        )
        write(self.layout.profile(dataset, pair, method), found)

    def plan(self, of: Cell) -> Plan:
        protocol, size = of.budget.split("-")
        cost = COSTS[of.method]
        iterations = math.floor(int(size) * COSTS["kd"] / cost) if protocol == "compute" else int(size)
        return documents.plan(of, iterations, cost, ANCHOR_S, protocol_version=self.version)

    def expect(self, of: Cell) -> Plan:
        """A cell of the grid that did not run."""
        self.cells.append(of)
        plan = self.plan(of)
        write(self.layout.plan(of.dataset, of.pair, of.method, of.budget), plan)
        return plan

    def student(
        self, of: Cell, status="finished", overspent=0.004, message="", teacher="pspnet-r18", unlabelled=0
    ) -> None:
        """A cell that ran and was published, not scored."""
        plan = self.expect(of)
        done = plan.iterations if status == "finished" else plan.iterations // 3
        spent_s = plan.planned_s * done / plan.iterations * (1 + overspent)
        found = documents.student_record(
            of,
            plan,
            [documents.segment(spent_s, ANCHOR_S, iterations=done, ended=status)],
            status=status,
            message=message,
            iterations={"done": done},
            params={"recipe": {"unlabelled_per_batch": unlabelled}},
            epochs={"labelled": done * (8 - unlabelled) / 240, "unlabelled": done * unlabelled / 180},
            digests={"teacher": digest(teacher)},
            protocol_version=self.version,
        )
        write(self.layout.student(of) / "record.json", found)

    def scored(self, of: Cell, overspent=0.004, miou=None, overlays=2, unlabelled=0) -> None:
        """A cell that ran and was evaluated."""
        self.student(of, overspent=overspent, unlabelled=unlabelled)
        draws = np.random.default_rng(int(digest(of.path)[:8], 16))
        if miou is None:
            protocol, size = of.budget.split("-")
            updates = int(size) * (COSTS["kd"] / COSTS[of.method] if protocol == "compute" else 1)
            miou = SKILL[of.method.removesuffix(".tuned")] + 0.045 * math.log2(updates / 400) + draws.normal(0, 0.006)
        per_image = self._confusions(draws, miou)
        total = per_image.sum(0, dtype=np.int64)
        hits, union = np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)
        per_class = {name: float(h / u) if u else None for name, h, u in zip(CLASSES, hits, union, strict=True)}
        folder = self.layout.evaluation(of)
        found = documents.scores(
            of,
            float(np.mean([v for v in per_class.values() if v is not None])),
            per_class_iou=per_class,
            metrics={name: value for name, value in measure(total).items() if name != "miou"},
            images=IMAGES,
            protocol_version=self.version,
        )
        write(folder / "scores.json", found)
        np.savez_compressed(
            folder / "confusion.npz", total=total, per_image=per_image, names=[f"i{n}" for n in range(IMAGES)]
        )
        for number in range(overlays):
            self._overlay(folder / "overlays" / f"{number:02d}-aachen_{number:06d}.png", draws)

    @staticmethod
    def _confusions(draws: np.random.Generator, miou: float) -> np.ndarray:
        """Per-image confusions whose classes all have about the wanted IoU; "train" is nowhere."""
        known = len(CLASSES) - 1
        right = 2 * miou / (1 + miou)
        per_image = np.zeros((IMAGES, len(CLASSES), len(CLASSES)), dtype=np.uint32)
        for image in per_image:
            for row in range(known):
                pixels = draws.integers(800, 1200)
                correct = draws.binomial(pixels, np.clip(right + 0.1 * math.cos(2 * row), 0, 1))
                image[row, :known] += draws.multinomial(pixels - correct, np.full(known, 1 / known)).astype(np.uint32)
                image[row, row] += correct
        return per_image

    def index(self, dataset="streets") -> None:
        """The index of the data set, which has the colours of the classes; not its data."""
        changes = {"classes": CLASSES, "palette": [list(colour) for colour in PALETTE]}
        one = dict.fromkeys(("class_pixels", "class_frequency", "class_images"), [1] * len(CLASSES))
        found = documents.index(dataset).model_dump()
        splits = {name: split | one for name, split in found["splits"].items()}
        write(self.layout.prepared_index(dataset), documents.index(dataset, **changes, splits=splits))

    def teacher_overlays(self, dataset="streets", model="pspnet-r18", overlays=2) -> None:
        folder = self.layout.teacher_scores(dataset, model).overlays
        draws = np.random.default_rng(7)
        for number in range(overlays):
            self._overlay(folder / f"{number:02d}-aachen_{number:06d}.png", draws)

    @staticmethod
    def _overlay(path: Path, draws: np.random.Generator) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = np.zeros((64, 128), dtype=np.uint8)
        truth[:30], truth[12:34, 20:70], truth[34:46, 60:90] = 4, 2, 6
        wrong = np.where(draws.random((8, 16)).repeat(8, 0).repeat(8, 1) < 0.2, 1, truth)
        photo = (np.asarray(PALETTE)[truth] * 0.6 + draws.integers(0, 90, (64, 128, 3))).astype(np.uint8)
        gap = np.full((64, 4, 3), 255, dtype=np.uint8)
        colours = np.asarray(PALETTE, dtype=np.uint8)
        Image.fromarray(np.concatenate([photo, gap, colours[truth], gap, colours[wrong]], axis=1)).save(path)


def whole_study(
    root: Path, budgets=("iteration-400", "compute-200", "compute-400", "compute-800"), seeds=3
) -> ResultsTree:
    """Five methods with every kind of hole: missing, diverged, trained but not scored; and one overspent cell."""
    tree = ResultsTree(root)
    tree.teacher()
    for method in ("none", "kd", "fitnet", "cwd", "mgd"):
        tree.profile(method, marks=["noisy"] if method == "fitnet" else [])
    for budget in budgets:
        for method in ("none", "kd", "fitnet", "cwd", "mgd"):
            for seed in range(seeds):
                of = cell(method, budget, seed)
                if (method, budget) == ("fitnet", "compute-400"):
                    tree.expect(of)
                elif (method, budget, seed) == ("mgd", "compute-400", 2):
                    tree.student(of, status="diverged", message="loss is nan at iteration 73")
                elif (method, budget, seed) == ("cwd", "iteration-400", 1):
                    tree.student(of)
                else:
                    tree.scored(of, overspent=0.051 if (method, budget, seed) == ("cwd", "compute-400", 0) else 0.004)
    return tree
