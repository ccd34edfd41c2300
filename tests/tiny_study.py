"""A study so small that whole verbs run in about a second: its params/, its data, its teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents
from isoclock.grid.cells import Cell
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params
from isoclock.params.load import Params
from isoclock.records.document import write

SIZE = (64, 128)
FILES = {
    "datasets.yaml": """\
streets:
  reader: cityscapes
  root: data/streets
  train: train
  val: val
  provenance: {"*": ours}
""",
    "models.yaml": """\
models:
  small:
    architecture: pspnet
    params:
      encoder: tu-test_resnet
      head_channels: 24
      aux_channels: 8
    weights: random
    provenance: {"*": ours}
  tiny:
    architecture: pspnet
    params:
      encoder: tu-test_resnet
      head_channels: 16
      aux_channels: 8
    weights: random
    provenance: {"*": ours}
pairs:
  tiny:
    teacher: small
    student: tiny
    profile: demo
    provenance: {"*": ours}
""",
    "training.yaml": """\
streets:
  shared:
    batch: 2
    crop: [32, 64]
    scale: [0.5, 1.5]
    flip: 0.5
    colour:
      - transform: Normalize
        mean: [0.485, 0.456, 0.406]
        std: [0.229, 0.224, 0.225]
    momentum: 0.9
    weight_decay: 5.0e-4
    poly_power: 0.9
    min_lr: 1.0e-4
    aux_weight: 0.4
    class_weights: sqrt-median-frequency
    precision: fp32
    loss_precision: autocast
    matmul_precision: highest
    cudnn_benchmark: false
    teacher_inference: eager
    compile: none
    channels_last: false
    threads: 1
    workers: 0
    evaluations: 2
    checkpoint_every_s: 1000.0
    provenance: {"*": ours}
  teacher:
    lr: 0.02
    iterations: 6
    provenance: {"*": ours}
  student:
    lr: 0.02
    provenance: {"*": ours}
""",
    "methods.yaml": """\
none:
  method: none
  implementation: reference
  params: {}
  weights: {}
  provenance: {"*": ours}
kd:
  method: kd
  implementation: reference
  params: {temperature: 1.0}
  weights: {kd: 1.0}
  provenance: {"*": ours}
fitnet:
  method: fitnet
  implementation: reference
  params: {tap: head, projector: conv}
  weights: {fitnet: 1.0}
  provenance: {"*": ours}
cwd:
  method: cwd
  implementation: reference
  params: {tap: logit, temperature: 4.0}
  weights: {cwd: 3.0}
  provenance: {"*": ours}
mgd:
  method: mgd
  implementation: reference
  params: {tap: backbone, mask_ratio: 0.75}
  weights: {mgd: 1.0e-4, cwd_logit: 0.0}
  provenance: {"*": ours}
""",
    "budgets.yaml": """\
profile:
  demo:
    window_s: 1.0e-6          # one step, however fast the machine is
    min_windows: 3
    half_width: 1000.0        # so that a busy machine marks nothing
    max_s: 0.4
    sustained_s: 1.0e-6
    max_data_share: 1.0
    reaccept_within: 0.02
    provenance: {"*": ours}
budgets:
  iteration-6:
    protocol: iteration
    iterations: 6
    provenance: {"*": ours}
  compute-6:
    protocol: compute
    yardstick: kd
    iterations: 6
    provenance: {"*": ours}
""",
    "grids/toy.yaml": """\
about: Every method of the tiny study under both protocols.
study: false
blocks:
  - datasets: [streets]
    pairs: [tiny]
    methods: [none, kd, fitnet, cwd, mgd]
    budgets: [iteration-6, compute-6]
    seeds: [0]
""",
}


def write_tiny_params(study: Path) -> Path:
    """Write `study`/params: data set `streets`, pair `tiny`, five methods, two budgets, grid `toy`. Returns that folder."""
    for name, content in FILES.items():
        path = study / "params" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return study / "params"


def add_avenues(params: Path) -> None:
    """A second data set, `avenues`: the raw files of `streets`, and its teachers. Grid `both` has `kd` on either."""
    entry, recipe = FILES["datasets.yaml"], FILES["training.yaml"]
    teacher = recipe[recipe.index("  teacher:\n") : recipe.index("  student:\n")]
    avenues = entry.replace("streets:", "avenues:", 1).replace("  val: val\n", "  val: val\n  teacher_from: streets\n")
    for name, added in (
        ("datasets.yaml", avenues),
        ("training.yaml", recipe.replace("streets:", "avenues:", 1).replace(teacher, "")),
    ):
        path = params / name
        path.write_text(path.read_text(encoding="utf-8") + added, encoding="utf-8")
    grid = FILES["grids/toy.yaml"].replace("[none, kd, fitnet, cwd, mgd]", "[kd]").replace("iteration-6, ", "")
    for name, datasets in (("both", "streets, avenues"), ("avenues", "avenues")):
        (params / "grids" / f"{name}.yaml").write_text(grid.replace("[streets]", f"[{datasets}]"), encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there exactly once."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


@dataclass(frozen=True)
class TinyStudy:
    """A study's folder, as a user has it; its files may be changed by a test."""

    folder: Path

    @property
    def params(self) -> Params:
        """params/ as it stands now."""
        return load_params(self.folder / "params")

    @property
    def layout(self) -> Layout:
        """Its results/ and runs/."""
        return Layout(self.folder / "results", self.folder / "runs")

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a text in a file of params/ that is there exactly once."""
        edit(self.folder / "params" / file, old, new)


def prepare_from_params(study: TinyStudy) -> None:
    """Pack the raw files that lie in the study, as its params/datasets.yaml tells."""
    from isoclock.data.packing.prepare import prepare  # here: not every test needs OpenCV
    from isoclock.data.packing.unlabelled import raw_splits
    from isoclock.data.readers.reader import find_reader

    entry = study.params.dataset("streets")
    prepare(
        find_reader(entry.reader),
        study.folder / entry.root,
        study.layout.prepared("streets"),
        splits=raw_splits(entry),
        labelled_images=entry.labelled_images,
        dataset="streets",
    )


def cell(method: str = "kd", budget: str = "iteration-6", seed: int = 0) -> Cell:
    """A cell of grid `toy`."""
    return Cell("streets", "tiny", method, budget, seed)


def write_plan(study: TinyStudy, method: str = "kd", iterations: int = 6, **changes: Any) -> Path:
    """A plan for the device of these tests, as `isoclock plan` makes it; `changes` to its values."""
    from isoclock.runner.device import choose_device
    from isoclock.training.device import device_kind

    plan = documents.plan(cell(method), iterations, **({"device_kind": device_kind(choose_device())} | changes))
    path = study.layout.plan("streets", "tiny", method, "iteration-6")
    write(path, plan)
    return path


def cpu_kind() -> str:
    """Device kind of this machine's CPU."""
    import torch

    from isoclock.training.device import device_kind

    return device_kind(torch.device("cpu"))
