"""The settings of a SLURM cluster (site.yaml, next to the slurm profile), and how a run is divided into jobs.

The profile reads them with `fill_profile` in the process that submits jobs, not within jobs. `in_use` gives the rest of
that process the same settings.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field

from isoclock.cluster import slurm
from isoclock.errors import EXIT_USER_ERROR, UserError
from isoclock.params.yaml_file import as_entry, read_yaml
from isoclock.text import redacted

SITE_FILE = Path("workflow/profiles/slurm/site.yaml")
PLACEHOLDER = "FILL-IN"

SIGNAL_S = 180  # seconds before the limit, as in --signal of the profile
# Of each job: three minutes for the signal, one because SLURM checks limits twice a minute, two to start up.
OVERHEAD_MIN = SIGNAL_S // 60 + 3
RUNTIME_FLOOR_MIN = 10

_in_use: Site | None = None
_read_from = SITE_FILE


class Site(BaseModel):
    """Settings of one cluster. None uses the cluster's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None
    account: str | None
    constraint: str | None = None
    qos: str | None = None
    gpu_as: Literal["gpu", "gres"] = "gpu"
    gpu_model: str | None = None
    job_limit_min: Annotated[int, Field(ge=RUNTIME_FLOOR_MIN, strict=True)] | None = None
    spare_retries: Annotated[int, Field(ge=0, strict=True)] = 2

    @property
    def placeholders(self) -> list[str]:
        """Keys that still have the placeholder."""
        return [name for name, value in self if value == PLACEHOLDER]

    @property
    def resources(self) -> dict[str, str]:
        """Snakemake resources of every job, quoted, because Snakemake evaluates a bare name as a Python expression."""
        named = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "constraint": self.constraint,
            "qos": self.qos,
        }
        return {name: repr(value) for name, value in named.items() if value is not None}

    @property
    def gpu(self) -> dict[str, Any]:
        """Snakemake resources of a job with one GPU."""
        if self.gpu_as == "gres":
            return {"gres": repr(":".join(filter(None, ["gpu", self.gpu_model, "1"])))}
        return {"gpu": 1} if self.gpu_model is None else {"gpu": 1, "gpu_model": repr(self.gpu_model)}

    @property
    def options(self) -> list[str]:
        """Options of sbatch and srun for a job with one GPU."""
        named = {"-p": self.partition, "-A": self.account, "-C": self.constraint, "-q": self.qos}
        gpu = ":".join(filter(None, [self.gpu_model, "1"]))
        asked = f"--gres=gpu:{gpu}" if self.gpu_as == "gres" else f"--gpus={gpu}"
        return [part for flag, value in named.items() if value is not None for part in (flag, value)] + [asked]

    @cached_property
    def found(self) -> slurm.Partition | None:
        """The partition; None if SLURM does not list it, or does not answer."""
        return None if self.partition == PLACEHOLDER else slurm.partition(self.partition)

    @cached_property
    def limits_min(self) -> dict[str, int]:
        """Time limits of a job in minutes, by what sets them; empty if there is none, or no SLURM to ask."""
        limits = {} if self.job_limit_min is None else {SITE_FILE.name: self.job_limit_min}
        if self.found is None:
            return limits
        if self.found.limit_min is not None:
            limits[f"partition {self.found.name}"] = self.found.limit_min
        return limits | slurm.wall_limits(self.account, self.qos, self.found.qos)

    @property
    def limit_min(self) -> int | None:
        """The shortest of `limits_min`; None if there is none."""
        return min(self.limits_min.values(), default=None)

    def at_most(self, minutes: int) -> int:
        """`minutes`, but at most the limit."""
        return minutes if self.limit_min is None else min(minutes, self.limit_min)

    def job_min(self, work_min: int) -> int:
        """Minutes to request for a job with `work_min` minutes of work plus overhead, or for the first part of it."""
        return self.at_most(max(RUNTIME_FLOOR_MIN, work_min + OVERHEAD_MIN))

    def jobs_needed(self, work_min: int) -> int:
        """Number of consecutive jobs that a run of `work_min` minutes takes."""
        if self.limit_min is None:
            return 1
        return max(1, ceil(work_min / max(1, self.limit_min - OVERHEAD_MIN)))


def read_site(path: Path = SITE_FILE) -> Site:
    """Read a site file. Raises UserError with one line per invalid key."""
    problems: list[str] = []
    content = read_yaml(path, problems)
    site = None if problems else as_entry(path, "", content, Site, problems)
    if site is None:
        raise UserError(problems)
    return site


def fill_profile(path: Path | None = None) -> Site:
    """The site, for the profile that is being read. If it is invalid, prints one line per problem and exits with status 2.

    `path` is the site file; None uses the one next to the profile that this process was started with (`site_file`).
    """
    global _in_use, _read_from
    try:
        path = site_file(sys.argv[1:]) if path is None else path
        site = read_site(path)
    except UserError as error:
        exit_with(error)
    _in_use, _read_from = site, path
    # Imported here: only this process needs Snakemake, and has it.
    from isoclock.cluster.executor import use_waiting_executor

    use_waiting_executor()
    return site


def site_file(arguments: Sequence[str]) -> Path:
    """The site file next to the profile named on Snakemake's command line, from whichever folder Snakemake was started.

    Snakemake does not pass a profile its location, so the profile is looked up again with Snakemake's own search. If several
    are named, the last one with a site file counts; if none has one, the file of the project in this folder.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for option in ("--profile", "--workflow-profile"):
        parser.add_argument(option, dest="profiles", action="append")
    named = parser.parse_known_args([*arguments])[0].profiles or [os.environ.get("SNAKEMAKE_PROFILE", "")]
    for profile in reversed(list(filter(None, named))):
        # Imported here: a process that reads a profile has loaded it already, and isoclock's own verbs do not need it.
        from snakemake.cli import get_profile_dir

        found = get_profile_dir(profile)
        candidate = found[0] / SITE_FILE.name if found else None
        if candidate is not None and candidate.is_file():
            ours = SITE_FILE.is_file() and candidate.samefile(SITE_FILE)
            return SITE_FILE if ours else candidate.resolve()  # --directory changes the meaning of a relative path
    return SITE_FILE


def in_use() -> Site | None:
    """The site of the slurm profile of this process; None without that profile, and within jobs."""
    return _in_use


def check_filled_in(site: Site | None) -> None:
    """Raise UserError for placeholders left in the site file, and if SLURM does not answer.

    Called before the first job, not in dry runs.
    """
    if site is None:
        return
    if site.placeholders:
        raise UserError(
            f"{_read_from}: {', '.join(site.placeholders)}: still {PLACEHOLDER}; set this cluster's value, or null for its "
            "default, then check with `isoclock doctor`"
        )
    if site.found is None and slurm.available() and not slurm.controller_answers():
        raise UserError(
            "SLURM's controller does not answer, so the time limits of jobs are unknown; start again when `scontrol ping` says UP"
        )


def exit_with(error: UserError) -> NoReturn:
    """Print one line per problem and exit with status 2, because Snakemake would print a traceback."""
    for problem in error.problems:
        print(f"isoclock: {redacted(problem)}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
