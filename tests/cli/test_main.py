from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import documents
from isoclock import __version__
from isoclock.budget.forecast import forecast
from isoclock.cli.main import main
from isoclock.cli.prepare import root_variable
from isoclock.records.document import write
from tiny_study import TinyStudy, add_avenues, edit

HEAVY = ("torch", "albumentations", "segmentation_models_pytorch", "timm", "mlflow", "cv2", "pandas", "snakemake")
STUDY_MISTAKES = {
    "unknown grid": (["check", "--grid", "toi"], "unknown grid 'toi'; choose from toy"),
    "the demo's grid elsewhere": (["report"], "unknown grid 'demo'"),
    "unknown data set": (["prepare", "avenues"], "unknown data set 'avenues'; choose from streets"),
    "raw data that are not there": (["prepare", "streets"], "data/streets"),
    "a cell that is none": (["student", "streets/tiny/kd"], "must be dataset/pair/method/budget/seed"),
    "a cell of an unknown method": (["student", "streets/tiny/dkd/compute-6/0"], "'dkd'"),
    "a student before its data": (["student", "streets/tiny/kd/compute-6/0"], "`isoclock prepare streets` makes it"),
    "a teacher before its data": (["teacher", "streets", "small"], "`isoclock prepare streets` makes it"),
    "an unknown teacher": (["teacher", "streets", "large"], "unknown model 'large'; choose from small, tiny"),
    "a profile before its data": (["profile", "streets", "tiny", "kd"], "`isoclock prepare streets` makes it"),
    "a plan before its profile": (["plan", "streets", "tiny", "iteration-6", "kd"], "`isoclock profile streets tiny kd` makes it"),
    "a budget before its yardstick": (["plan", "streets", "tiny", "compute-6"], "`isoclock profile streets tiny kd` makes it"),
    "an unknown budget": (["plan", "streets", "tiny", "compute-7"], "unknown budget 'compute-7'"),
    "a teacher's scores before it": (["evaluate", "streets/small"], "`isoclock prepare streets` makes it"),
    "scores of an unknown teacher": (["evaluate", "streets/large"], "unknown model 'large'; choose from small, tiny"),
    "scores of nothing": (["evaluate", "streets/small/0"], "must be dataset/pair/method/budget/seed"),
    "scores before their student": (["evaluate", "streets/tiny/kd/compute-6/0"], "`isoclock prepare streets` makes it"),
}  # fmt: skip


@pytest.fixture
def in_study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    return empty_study


def modules_after(folder: Path, *arguments: str) -> tuple[int, set[str]]:
    """Exit status of a verb in a process of its own, and the top-level packages that this process imported."""
    program = (
        "import json, sys\n"
        "before = {name.partition('.')[0] for name in sys.modules}\n"
        "from isoclock.cli.main import main\n"
        "try:\n    status = main(sys.argv[1:])\n"
        "except SystemExit as end:\n    status = end.code\n"
        "print(json.dumps([status, sorted({name.partition('.')[0] for name in sys.modules} - before)]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    status, modules = json.loads(ended.stdout.splitlines()[-1])
    return status or 0, set(modules)


@pytest.mark.parametrize("mistake", STUDY_MISTAKES)
def test_a_mistake_is_status_2_and_one_line(
    in_study: TinyStudy, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = STUDY_MISTAKES[mistake]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    problems = [line for line in err.splitlines() if line.startswith("isoclock: ")]
    assert problems == err.splitlines(), err
    assert any(expected in line for line in problems)
    assert "Traceback" not in err


def test_a_teacher_that_is_another_data_sets(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    add_avenues(in_study.folder / "params")
    assert main(["teacher", "avenues", "small"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "isoclock: params/datasets.yaml: avenues.teacher_from: 'streets': avenues has no teachers of its own; "
        "use those of streets"
    )


def test_a_process_ends_with_status_2_and_no_traceback(in_study: TinyStudy) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "isoclock", "student", "nonsense"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1


def test_every_mistake_in_params_is_reported(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    in_study.edit("methods.yaml", "{kd: 1.0}", "{kd: -1.0}")
    in_study.edit("budgets.yaml", "protocol: compute", "protocol: hours")
    assert main(["check"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("isoclock: params/") for line in lines)


def test_outside_a_study_the_message_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    assert "run isoclock in the folder that contains Snakefile and params" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["trian"], ["student"], ["plan", "--tflops", "0"], ["check", "--gird", "toy"]]
)
def test_a_command_that_cannot_be_read_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: isoclock" in capsys.readouterr().err


def test_check_counts_cells(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--grid", "toy"]) == 0
    assert "grid toy has 10 cells" in capsys.readouterr().out
    assert main(["check"]) == 0
    assert "grids: toy" in capsys.readouterr().out


def test_check_builds_the_colour_transforms(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    listed = "    colour:\n      - transform: ColorJitter\n        brigthness: 0.3\n      - transform: ToFloat\n"
    in_study.edit("training.yaml", "    colour:\n", listed)
    assert main(["check"]) == 2
    argument, kind = capsys.readouterr().err.splitlines()
    assert argument.startswith("isoclock: params/training.yaml: streets.teacher.colour: ColorJitter has no argument")
    assert "ToFloat makes float32" in kind


def test_check_reports_readers_and_colour_together(plugin_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    training = plugin_study.folder / "params" / "training.yaml"
    training.write_text(training.read_text().replace("    colour:\n", "    colour:\n      - transform: ToFloat\n"))
    edit(plugin_study.folder / "plugins" / "readers" / "roads.py", "min(train, 1)", "min(train, 2)")
    assert main(["check"]) == 2
    errors = capsys.readouterr().err
    assert "plugins/readers/roads.py: raw_to_train: " in errors
    assert "streets.teacher.colour: ToFloat makes float32" in errors


def test_stamp_prints_what_changed(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stamp", "--grid", "toy"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 17
    assert main(["stamp", "--grid", "toy"]) == 0
    assert capsys.readouterr().out == ""


def test_methods_lists_the_variants(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("none", "kd", "fitnet", "cwd", "mgd"))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_the_log_has_what_the_terminal_has(in_study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--log", "runs/logs/check.log", "check"]) == 0
    assert Path("runs/logs/check.log").read_text() == capsys.readouterr().out
    assert main(["--log", "runs/logs/check.log", "check", "--grid", "toi"]) == 2
    assert Path("runs/logs/check.log").read_text() == capsys.readouterr().err


def test_every_attempt_is_kept_though_snakemake_removes_a_rules_log(
    in_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    log, printed = Path("runs/logs/check.log"), []
    for grid in ("toi", "toy"):
        main(["--log", str(log), "check", "--grid", grid])
        printed.append("".join(capsys.readouterr()))
        log.unlink()
    attempts = Path("runs/logs/check.attempts.log").read_text()
    headers = [line for line in attempts.splitlines() if line.startswith("=== ")]
    assert [line.rpartition(": ")[2] for line in headers] == [
        f"isoclock --log {log} check --grid {grid}" for grid in ("toi", "toy")
    ]
    assert attempts == "".join(f"{header}\n{text}" for header, text in zip(headers, printed, strict=True))


def test_an_internal_error_is_in_the_log_with_its_traceback(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("isoclock.params.check.load_params", lambda: 1 // 0)
    with pytest.raises(SystemExit) as caught:
        main(["--log", "fault.log", "check"])
    assert caught.value.code == 1
    assert "ZeroDivisionError" in Path("fault.log").read_text()
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_the_exit_status_tells_a_stopped_run_from_a_failed_one(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("isoclock.runner.run.train_teacher", lambda *_: "stopped")
    assert main(["teacher", "streets", "small"]) == 75
    assert "run the same command again to continue" in capsys.readouterr().err
    for status in ("finished", "diverged"):
        monkeypatch.setattr("isoclock.runner.run.train_teacher", lambda *_, status=status: status)
        assert main(["teacher", "streets", "small"]) == 0, "divergence is a result"


def test_an_environment_variable_overrides_the_folder_of_raw_data(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert root_variable("camvid-11.v2") == "ISOCLOCK_ROOT_CAMVID_11_V2"
    monkeypatch.setenv("ISOCLOCK_ROOT_STREETS", str(in_study.folder / "elsewhere"))
    assert main(["prepare", "streets"]) == 2
    assert "elsewhere" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["student", "--help"], ["--version"], ["student"]])
def test_help_and_usage_import_the_standard_library_only(tmp_path: Path, arguments: list[str]) -> None:
    status, modules = modules_after(tmp_path, *arguments)
    assert status == (2 if arguments == ["student"] else 0)
    assert modules - sys.stdlib_module_names == {"isoclock"}


VERB = '''"""Print a greeting, 100 % of the time."""


def add_arguments(parser):
    parser.add_argument("--times", type=int, default=1)


def run(arguments):
    print("hello " * arguments.times)
    return 3
'''


def test_a_file_is_a_verb(package_copy: Path) -> None:
    (package_copy / "cli" / "say_hello.py").write_text(VERB)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "isoclock", *arguments]
        return subprocess.run(command, cwd=package_copy.parent, capture_output=True, text=True, check=False)

    listed = re.findall(r"^    ([a-z-]+)(?: |$)", run("--help").stdout, re.MULTILINE)
    assert listed[:7] == ["prepare", "teacher", "profile", "plan", "student", "evaluate", "report"]
    assert listed[7:] == sorted({path.stem.replace("_", "-") for path in cli_files(package_copy)} - {*listed[:7]})
    assert "say-hello" in listed
    assert "Print a greeting, 100 % of the time." in run("say-hello", "--help").stdout
    done = run("say-hello", "--times", "2")
    assert (done.returncode, done.stdout) == (3, "hello hello \n")


def cli_files(package: Path) -> list[Path]:
    return [path for path in (package / "cli").glob("*.py") if path.stem not in ("__init__", "main", "shared")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["stamp", "--grid", "toy"],
        ["plan", "streets", "tiny", "compute-6"],
        ["plan", "streets", "tiny", "compute-6", "kd"],
        ["plan", "--dry", "--grid", "toy"],
        ["report", "--grid", "toy", "--table-only"],
        ["report", "--grid", "toy"],
        ["audit", "--grid", "toy"],
        ["methods"],
        ["status", "toy"],
    ],
    ids=" ".join,
)
def test_verbs_that_only_calculate_do_not_import_torch(empty_study: TinyStudy, arguments: list[str]) -> None:
    if arguments[0] == "plan":
        write(empty_study.layout.profile("streets", "tiny", "kd"), documents.profile())
    if arguments[-1] == "kd":
        write(empty_study.layout.accepted_budget("streets", "tiny", "compute-6"), documents.accepted_budget())
    if "--dry" in arguments:  # another time: FLOPs that are known need no torch
        forecast(empty_study.params, "toy", empty_study.layout)
    status, modules = modules_after(empty_study.folder, *arguments)
    assert status == 0
    assert "yaml" in modules
    assert not modules & set(HEAVY)


TYPOS = (
    ["student", "streets/tiny/kdd/compute-6/0"], ["student", "streets/tiny/kd/compute-7/0"],
    ["student", "streets/tyni/kd/compute-6/0"], ["evaluate", "streets/tiny/kdd/compute-6/0"],
    ["evaluate", "streets/large"], ["plan", "streets", "tyni", "compute-6"],
    ["teacher", "streets", "large"], ["teacher", "street", "small"], ["profile", "streets", "tiny", "kdd"],
    ["profile", "street", "tiny", "kd"], ["import", "large", "x.pth"], ["sync", "--grid", "toi"], ["ui", "--grid", "toi"],
    ["prepare", "street"], ["status", "toi"], ["fetch", "toi"], ["gate", "toi"], ["tune", "toi"],
)  # fmt: skip


def test_a_typo_is_found_before_torch_is_imported_and_data_are_looked_at(empty_study: TinyStudy) -> None:
    program = (
        "import json, sys\nfrom isoclock.cli.main import main\n"
        "print(json.dumps([main(arguments) for arguments in json.loads(sys.argv[1])]), *sys.modules)"
    )
    command = [sys.executable, "-c", program, json.dumps(TYPOS)]
    ended = subprocess.run(command, cwd=empty_study.folder, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(json.dumps([2] * len(TYPOS)))
    assert not set(ended.stdout.split()) & set(HEAVY)
    assert ended.stderr.count(": unknown ") == len(TYPOS), ended.stderr


def test_an_error_in_a_method_of_ones_own_is_one_line_with_file_and_line(
    plugin_study: TinyStudy, capsys: pytest.CaptureFixture[str]
) -> None:
    path = plugin_study.folder / "plugins" / "methods" / "huber.py"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("    def compute"))
    body = next(number for number in range(at, len(lines)) if lines[number].endswith(":")) + 1
    lines.insert(body, "        undefined_name")
    path.write_text("\n".join(lines) + "\n")
    assert main(["profile", "streets", "former", "huber"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"isoclock: plugins/methods/huber.py:{body + 1}: NameError: name 'undefined_name' is not defined"


def test_snakemakes_entry_does_not_import_torch(empty_study: TinyStudy) -> None:
    program = (
        "import sys; from isoclock.dag.start import open_targets; open_targets({'grid': 'toy'}); print(*sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=empty_study.folder, capture_output=True, text=True, check=True
    )
    assert not set(ended.stdout.split()) & set(HEAVY)


def test_an_interrupt_is_not_a_traceback(in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("isoclock.params.check.load_params", interrupted)
    assert main(["check"]) == 130
    assert Path.cwd() == in_study.folder


def test_a_failure_of_the_gpu_is_one_line_wherever_it_happens(
    in_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For example while a verb measures whether the precision is slow, before a run begins."""

    def failed() -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")

    monkeypatch.setattr("isoclock.params.check.load_params", failed)
    assert main(["check"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("isoclock: this build of torch has no kernels for this GPU (no kernel image); install one")
    assert Path.cwd() == in_study.folder
