"""Fabricates a results folder in the published shapes, small and deterministic, for tests of whoever reads one."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from isoclock.records.protocol import VERSION
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


def digest(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def cell(method="kd", budget="compute-400", seed=0, dataset="streets", pair="demo") -> dict:
    return {"dataset": dataset, "pair": pair, "method": method, "budget": budget, "seed": seed}


def path_of(of: dict) -> str:
    return "/".join(str(of[part]) for part in ("dataset", "pair", "method", "budget", "seed"))


class ResultsTree:
    """Adds parts of a study to a folder; `cells` and `audit` are what the lead would hand to the report."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.cells: list[dict] = []
        self.audit: list[dict] = []
        self.version = VERSION  # of the protocol, in all that is written from now on; 1: not said, as it was not then

    @property
    def told_version(self) -> dict:
        return {} if self.version == 1 else {"protocol_version": self.version}

    def write(self, path: str, content: object) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content))
        return target

    def teacher(self, dataset="streets", model="pspnet-r18", miou=0.545) -> None:
        per_class = {
            name: None if name == "train" else miou + 0.05 * math.cos(place) for place, name in enumerate(CLASSES)
        }
        self.write(
            f"teacher/{dataset}/{model}/scores.json",
            {
                "schema": 1,
                **self.told_version,
                "cell": None,
                "dataset": dataset,
                "status": "finished",
                "iterations": 2000,
                "miou": miou,
                "metrics": {"pixel_accuracy": 0.88},
                "per_class_iou": per_class,
                "images": IMAGES,
                "weights": digest(model),
                "split": "val",
            },
        )

    def profile(self, method: str, dataset="streets", pair="demo", marks=()) -> None:
        ratio = COSTS[method]
        step = {"median": ANCHOR_S * ratio, "q25": ANCHOR_S * ratio * 0.99, "q75": ANCHOR_S * ratio * 1.01}
        self.write(
            f"profile/{dataset}/{pair}/{method}.json",
            {
                "schema": 1,
                **self.told_version,
                "dataset": dataset,
                "pair": pair,
                "method": method,
                "implementation": "tuned" if method.endswith(".tuned") else "reference",
                "device_kind": "cpu",
                "threads": 1,
                "precision": "bfloat16",
                "batch": 8,
                "crop": [64, 128],
                "cost": {"ratio": ratio, "low": ratio * 0.985, "high": ratio * 1.02},
                "step_s": step,
                "anchor_s": {"median": ANCHOR_S, "q25": 0.103, "q75": 0.106},
                "windows": [],
                "sustained_ratio": ratio * 1.004,
                "peak_mib": 310 + 90 * ratio,
                "gflops": {"student": 11.2, "teacher": 21.0, "loss": 0.4, "total": 32.6},
                "shares": dict(
                    zip(
                        ("data", "student", "teacher", "loss", "backward", "optimiser"),
                        SHARES[method.removesuffix(".tuned")],
                        strict=True,
                    )
                ),
                "loader_core_s": 0.002,
                "energy_j": None,
                "marks": list(marks),
                "attempts": 1,
                "digests": {},
            },
        )

    def plan(self, of: dict) -> dict:
        protocol, size = of["budget"].split("-")
        cost, size = COSTS[of["method"]], int(size)
        budget = size * COSTS["kd"] if protocol == "compute" else None
        iterations = math.floor(budget / cost) if budget else size
        plan = {
            "schema": 1,
            **self.told_version,
            **{key: of[key] for key in ("dataset", "pair", "method", "budget")},
            "protocol": protocol,
            "iterations": iterations,
            "cost": cost,
            "anchor_steps": iterations * cost,
            "anchor_s": ANCHOR_S,
            "planned_s": iterations * cost * ANCHOR_S,
            "device_kind": "cpu",
            "budget_anchor_steps": budget,
            "yardstick": "kd" if budget else None,
            "marks": [],
        }
        self.write("plan/" + path_of(of).rsplit("/", 1)[0] + ".json", plan)
        return plan

    def expect(self, of: dict) -> dict:
        """A cell of the grid that did not run."""
        self.cells.append(of)
        return self.plan(of)

    def student(
        self, of: dict, status="finished", overspent=0.004, message="", teacher="pspnet-r18", unlabelled=0
    ) -> None:
        """A cell that ran and was published, not scored."""
        plan = self.expect(of)
        done = plan["iterations"] if status == "finished" else plan["iterations"] // 3
        spent_s = plan["planned_s"] * done / plan["iterations"] * (1 + overspent)
        steps = spent_s / ANCHOR_S
        segment = {
            "started_unix": 1.7e9,
            "train_s": spent_s,
            "iterations": done,
            "anchor_s": ANCHOR_S,
            "anchor_steps": steps,
            "device_kind": "cpu",
            "threads": 1,
            "ended": status,
        }
        self.write(
            f"student/{path_of(of)}/record.json",
            {
                "schema": 1,
                **self.told_version,
                "kind": "student",
                "run_id": digest("run", path_of(of))[:32],
                "cell": of,
                "status": status,
                "message": message,
                "iterations": {"planned": plan["iterations"], "done": done},
                "clock": {"train_s": spent_s, "evaluate_s": 4.2, "io_s": 0.3, "startup_s": 3.1, "lost_s": 0.0},
                "segments": [segment],
                "plan": plan,
                "params": {"recipe": {"batch": 8, "unlabelled_per_batch": unlabelled}},
                "epochs": {"labelled": done * (8 - unlabelled) / 240, "unlabelled": done * unlabelled / 180},
                "best": None,
                "checkpoints": {"count": 2, "seconds_each": 0.1, "bytes": 22_000_000},
                "digests": {
                    "weights": digest(path_of(of)),
                    "teacher": digest(teacher),
                    "data": digest("data"),
                    "code": digest("code", of["method"]),
                    "plan": digest("plan"),
                },
                "started_unix": 1.7e9,
                "ended_unix": 1.7e9 + spent_s,
                "environment": {"python": "3.11.7", "torch": "2.14.1"},
                "hardware": {"device": "AMD EPYC", "device_kind": "cpu", "threads": 1, "cpu_cores": 2},
            },
        )
        deviation = spent_s / plan["planned_s"] - 1
        self.audit.append(
            {
                "cell": of,
                **self.told_version,
                "planned_s": plan["planned_s"],
                "spent_s": spent_s,
                "planned_anchor_steps": plan["anchor_steps"],
                "spent_anchor_steps": steps,
                "deviation": deviation,
                "lost_s": 0.0,
                "device_kind": "cpu",
                "marks": ["outside 3 %"] if abs(deviation) > 0.03 else [],
            }
        )

    def scored(self, of: dict, overspent=0.004, miou=None, overlays=2, unlabelled=0) -> None:
        """A cell that ran and was evaluated."""
        self.student(of, overspent=overspent, unlabelled=unlabelled)
        draws = np.random.default_rng(int(digest(path_of(of))[:8], 16))
        if miou is None:
            protocol, size = of["budget"].split("-")
            updates = int(size) * (COSTS["kd"] / COSTS[of["method"]] if protocol == "compute" else 1)
            miou = (
                SKILL[of["method"].removesuffix(".tuned")] + 0.045 * math.log2(updates / 400) + draws.normal(0, 0.006)
            )
        per_image = self._confusions(draws, miou)
        total = per_image.sum(0, dtype=np.int64)
        hits, union = np.diag(total), total.sum(0) + total.sum(1) - np.diag(total)
        per_class = {name: float(h / u) if u else None for name, h, u in zip(CLASSES, hits, union, strict=True)}
        folder = self.root / "evaluate" / path_of(of)
        self.write(
            f"evaluate/{path_of(of)}/scores.json",
            {
                "schema": 1,
                **self.told_version,
                "cell": of,
                "dataset": of["dataset"],
                "status": "finished",
                "iterations": 400,
                "miou": float(np.mean([v for v in per_class.values() if v is not None])),
                "metrics": {name: value for name, value in measure(total).items() if name != "miou"},
                "per_class_iou": per_class,
                "images": IMAGES,
                "weights": digest(path_of(of)),
                "split": "val",
            },
        )
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
