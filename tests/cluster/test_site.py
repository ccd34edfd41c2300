from __future__ import annotations

from pathlib import Path

import pytest
import snakemake.cli  # noqa: F401  here, where PATH is whole: it looks for a shell when it is imported
import yaml
import yte

from isoclock.cluster import site as site_module
from isoclock.cluster.site import (
    OVERHEAD_MIN,
    PLACEHOLDER,
    RUNTIME_FLOOR_MIN,
    SIGNAL_S,
    SITE_FILE,
    Site,
    check_filled_in,
    read_site,
    site_file,
)
from isoclock.errors import UserError
from no_files import put

ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "workflow/profiles/slurm"


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide any SLURM of this machine, and reset the profile in use."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(site_module, "_in_use", None)
    monkeypatch.setattr(site_module, "_read_from", site_module.SITE_FILE)


def a_site(**values: object) -> Site:
    return Site.model_validate({"partition": "gpu", "account": None, **values})


def profile(monkeypatch: pytest.MonkeyPatch, folder: Path, **values: object) -> dict:
    """The profile as Snakemake has it, filled in from a site file with these values."""
    path = folder / "workflow/profiles/slurm/site.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"partition": "gpu", "account": None, **values}))
    monkeypatch.chdir(folder)
    return dict(yte.process_yaml((PROFILE / "profile.yaml").read_text(), require_use_yte=True))


def test_the_site_file_of_the_project_is_valid_except_for_placeholders() -> None:
    site = read_site(PROFILE / "site.yaml")
    assert site.placeholders == ["partition", "account"]
    with pytest.raises(UserError, match=r"site\.yaml: partition, account: still FILL-IN; set .* or null"):
        check_filled_in(site)
    check_filled_in(a_site())
    check_filled_in(None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"partitions": "gpu"}, "partitions: 'gpu': unknown key; choose from partition, account"),
        ({"gpu_as": "gpus"}, "gpu_as: 'gpus'"),
        ({"job_limit_min": 5}, "job_limit_min: 5"),
        ({"job_limit_min": "4 h"}, "job_limit_min: '4 h'"),
        ({"spare_retries": -1}, "spare_retries: -1"),
    ],
)
def test_an_error_is_one_line_with_file_key_and_value(
    values: dict[str, object], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump({"partition": "gpu", "account": None, **values}))
    with pytest.raises(SystemExit) as ended:
        site_module.fill_profile(path)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"isoclock: {path}: ")
    assert message in line
    assert site_module.in_use() is None


def test_a_missing_or_invalid_site_file(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    with pytest.raises(UserError, match="no such file; restore it from the repository"):
        read_site(path)
    for text, problem in (
        ("partition: [", "line 2: did not find"),
        ("partition: !!int x", "line 1: tag !!int: tags are not supported"),
        ("", "None: "),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=f"site.yaml: .*{problem}"):
            read_site(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--profile", "{there}", "all"],
        ["-n", "--profile={there}", "--", "all"],
        ["--profile", "{there}/profile.yaml"],
        ["--profile", "{there}", "--profile", "plain"],
        ["--workflow-profile", "{there}", "--profile", "not-there"],
    ],
)
def test_the_site_file_is_next_to_the_named_profile(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "a cluster"
    for name in ("a cluster/profile.yaml", "a cluster/site.yaml", "here/plain/profile.yaml", "here" / SITE_FILE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path / "here")
    assert site_file([argument.format(there=there) for argument in arguments]) == there / "site.yaml"
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(there))
    assert site_file(["all"]) == there / "site.yaml"
    assert site_file(["--profile", "plain"]) == SITE_FILE, "the command line overrides the environment"
    monkeypatch.delenv("SNAKEMAKE_PROFILE")
    assert site_file(["all"]) == SITE_FILE


def test_the_projects_own_site_file_is_a_relative_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for profile in ("slurm", str(PROFILE), "workflow/profiles/slurm/profile.yaml"):
        assert site_file(["--profile", profile]) == SITE_FILE


def test_a_profile_takes_the_sites_values_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = profile(monkeypatch, tmp_path, account="max", constraint="a100|h100", spare_retries=5)
    assert found["executor"] == "slurm"
    resources = found["default-resources"]
    assert resources["slurm_partition"] == "'gpu'"
    assert resources["slurm_account"] == "'max'", "unquoted, Snakemake would take Python's function"
    assert resources["constraint"] == "'a100|h100'"
    assert "qos" not in resources
    assert found["retries"] == 5
    assert found["slurm-status-command"] == "squeue"
    assert found["rerun-incomplete"] is found["keep-going"] is True
    assert not any("array" in key or "requeue" in key for key in found)
    assert site_module.in_use() is not None


def test_the_signal_is_as_early_as_the_overhead_assumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = profile(monkeypatch, tmp_path)
    assert found["default-resources"]["slurm_extra"] == f"'--signal=TERM@{SIGNAL_S}'"
    assert SIGNAL_S / 60 < OVERHEAD_MIN < RUNTIME_FLOOR_MIN


@pytest.mark.parametrize(
    ("values", "resources", "option"),
    [
        ({}, {"gpu": 1}, "--gpus=1"),
        ({"gpu_model": "h100"}, {"gpu": 1, "gpu_model": "'h100'"}, "--gpus=h100:1"),
        ({"gpu_as": "gres"}, {"gres": "'gpu:1'"}, "--gres=gpu:1"),
        ({"gpu_as": "gres", "gpu_model": "h100"}, {"gres": "'gpu:h100:1'"}, "--gres=gpu:h100:1"),
    ],
)
def test_one_gpu_per_job_with_gpus_or_gres(
    values: dict[str, object], resources: dict, option: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = profile(monkeypatch, tmp_path, **values)["set-resources"]
    assert found == dict.fromkeys(("teacher", "profile", "student", "evaluate", "evaluate_teacher"), resources)
    assert a_site(**values).options == ["-p", "gpu", option]


def test_a_run_that_fits_is_one_job_with_its_overhead() -> None:
    site = a_site(job_limit_min=240)
    assert (site.jobs_needed(100), site.job_min(100)) == (1, 100 + OVERHEAD_MIN)
    assert (site.jobs_needed(240 - OVERHEAD_MIN), site.job_min(240 - OVERHEAD_MIN)) == (1, 240)
    assert site.job_min(1) == RUNTIME_FLOOR_MIN


def test_a_longer_run_takes_jobs_of_the_limit() -> None:
    site = a_site(job_limit_min=240)
    assert (site.jobs_needed(241 - OVERHEAD_MIN), site.job_min(241 - OVERHEAD_MIN)) == (2, 240)
    assert site.jobs_needed(10 * (240 - OVERHEAD_MIN)) == 10
    assert site.jobs_needed(10 * (240 - OVERHEAD_MIN) + 1) == 11


def test_without_a_limit_a_run_is_one_job() -> None:
    site = a_site()
    assert site.limit_min is None
    assert (site.jobs_needed(100_000), site.job_min(100_000)) == (1, 100_000 + OVERHEAD_MIN)
    assert site.at_most(60) == 60


def test_slurm_is_not_asked_about_a_placeholder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isoclock.cluster.slurm.partition", lambda name: pytest.fail("asked"))
    assert a_site(partition=PLACEHOLDER, job_limit_min=60).limit_min == 60


def test_a_fifo_in_place_of_the_site_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"site\.yaml: cannot be read \(it is a FIFO, not a file\)"):
        read_site(put(tmp_path / "site.yaml", "a FIFO"))


def test_nothing_starts_while_the_controller_does_not_answer(tmp_path: Path) -> None:
    for name in ("scontrol", "sbatch"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Slurmctld(primary) at head is DOWN'; exit 1\n")
        (tmp_path / name).chmod(0o755)
    assert a_site().limit_min is None
    with pytest.raises(UserError, match="does not answer, so the time limits of jobs are unknown; start again when"):
        check_filled_in(a_site())
