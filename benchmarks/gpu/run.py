"""Measure isoclock on one GPU in at most eight minutes: every part of this folder, one process each.

python benchmarks/gpu/run.py --out results/gpu              all parts, the most valuable ones first
python benchmarks/gpu/run.py --out results/gpu --part costs one part
python benchmarks/gpu/run.py --tiny --device cpu --out DIR  a few samples each, to test that the parts run

It needs a source tree, Python with torch, torchvision, timm, numba, OpenCV, pytest and rich, and the wheels of
`make gpu-wheels`. Rows are written as they are measured, so that what is there at a part's time limit counts.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from page import page
from rich.console import Console
from rich.markdown import Markdown
from rows import Rows, collect

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WHEELS = ROOT / "build" / "gpu-wheels"
CARRIED = ("pydantic", "segmentation_models_pytorch", "pynvml")  # modules of those wheels
GRACE_S = 5.0  # between SIGTERM and SIGKILL at a part's limit


@dataclass(frozen=True)
class Part:
    """A program of this folder, with its arguments and its time limit."""

    name: str
    program: str
    limit_s: int
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("machine", "machine", 15),
    Part("goldens", "goldens", 45),
    Part("costs", "costs", 160, ("--size", "cityscapes")),
    Part("verbs", "verbs", 105),
    Part("switches", "switches", 75),
    Part("floors", "floors", 30),
    Part("costs-150", "costs", 45, ("--size", "ade20k")),
)


def main() -> int:
    """Run the parts. The exit status is 1 if one failed; a part that ran out of time did not fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="this part only; may be repeated")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu", help="folder of the results")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks and few samples; limits are not changed")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = [part for part in PARTS if arguments.part is None or part.name in arguments.part]
    environment = _environment(out)
    if arguments.device == "cuda":
        _check_gpu(environment)
    scenes = _start_scenes(out, environment, tiny=arguments.tiny) if any(p.name == "verbs" for p in chosen) else None
    common = ["--device", arguments.device, *(["--tiny"] if arguments.tiny else [])]
    failed = False
    try:
        for part in chosen:
            failed |= not _run(part, out, environment, common)
            collect(out, names)
    finally:
        if scenes is not None and scenes.poll() is None:
            scenes.kill()
    text = page(collect(out, names))
    (out / "gpu.md").write_text(text)
    console = Console()
    if not console.is_terminal:
        console.width = 160  # in a log the width is unknown, and 80 columns break the tables
    console.print(Markdown(text))
    print(f"{out / 'gpu.json'}; publish it with: python benchmarks/gpu/page.py {out / 'gpu.json'}")
    return int(failed)


def _check_gpu(environment: dict[str, str]) -> None:
    """Exit with one line if there is no GPU that torch can use."""
    program = "import torch; torch.zeros(1, device='cuda').item()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"no GPU that torch can use: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        sys.exit(2)


def _run(part: Part, out: Path, environment: dict[str, str], common: Sequence[str]) -> bool:
    """One part, ended at its limit; returns whether it succeeded."""
    rows = Rows(out / f"{part.name}.jsonl", new=True)
    command = [sys.executable, str(HERE / f"{part.program}.py"), "--out", str(rows.path)]
    command += ["--seconds", str(part.limit_s - 10), *part.arguments, *common]
    print(f"{part.name}: at most {part.limit_s} s", flush=True)
    started = time.monotonic()
    with (out / f"{part.name}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        ended = _ended(process, part.limit_s)
    took_s = time.monotonic() - started
    rows.put(kind="end", ended=ended, took_s=round(took_s, 1))
    print(f"{part.name}: {ended} after {took_s:.0f} s", flush=True)
    return ended in ("finished", "at its time limit")


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> str:
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return "at its time limit"
    return "finished" if status == 0 else f"failed with exit status {status}"


def _environment(out: Path) -> dict[str, str]:
    """The source tree and the wheels, and caches inside `out`, since a home folder may be absent."""
    paths = [str(ROOT / "src"), str(ROOT / "benchmarks")]
    if any(find_spec(module) is None for module in CARRIED):
        paths.insert(0, str(_site(out)))
    caches = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton", "NUMBA_CACHE_DIR": "numba"}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "NO_ALBUMENTATIONS_UPDATE": "1",
        **{name: str(out / "caches" / folder) for name, folder in caches.items()},
    }


def _site(out: Path) -> Path:
    """A folder with the packages of `make gpu-wheels`. Exits with one line if they are not there, or for another Python."""
    site, wheels = out / "site", sorted(map(str, WHEELS.glob("*.whl")))
    if not wheels:
        sys.exit(f"{WHEELS}: no wheels; run `make gpu-wheels` where there is a network, and carry the folder along")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--upgrade"]
    if subprocess.run([*command, "--target", str(site), *wheels], check=False).returncode != 0:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        sys.exit(f"{WHEELS}: pip cannot install these wheels, which are for Python 3.12, and this is {version}")
    return site


def _start_scenes(out: Path, environment: dict[str, str], *, tiny: bool) -> subprocess.Popen[bytes]:
    """Start to make the data of the part `verbs` on the CPU, while other parts use the GPU."""
    command = [sys.executable, str(HERE / "study.py"), str(out / "study"), *(["--tiny"] if tiny else [])]
    with (out / "study.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=ROOT, env={**environment, "CUDA_VISIBLE_DEVICES": ""}, stdout=log, stderr=subprocess.STDOUT
        )


if __name__ == "__main__":
    sys.exit(main())
