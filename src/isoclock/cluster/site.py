"""What a SLURM cluster is like: site.yaml beside the slurm profile, and how a run is cut into jobs there.

The profile fills itself in from it (`fill_profile`), in the process that submits jobs and in no job; `in_use` tells the rest
of that process.
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

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isoclock.cluster import slurm
from isoclock.errors import EXIT_USER_ERROR, UserError

SITE_FILE = Path("workflow/profiles/slurm/site.yaml")
PLACEHOLDER = "FILL-IN"

SIGNAL_S = 180  # before the limit, as the profile's --signal says
# Of each job: the signal's three minutes, one because SLURM looks at limits twice a minute, two to start up.
OVERHEAD_MIN = SIGNAL_S // 60 + 3
RUNTIME_FLOOR_MIN = 10

_in_use: Site | None = None
_read_from = SITE_FILE


class Site(BaseModel):
    """Values of one cluster. None leaves a thing to the cluster's default."""

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
        """Keys that nobody has filled in yet."""
        return [name for name, value in self if value == PLACEHOLDER]

    @property
    def resources(self) -> dict[str, str]:
        """Snakemake's resources of every job, quoted: it would take a bare name for a Python expression."""
        named = {
            "slurm_partition": self.partition,
            "slurm_account": self.account,
            "constraint": self.constraint,
            "qos": self.qos,
        }
        return {name: repr(value) for name, value in named.items() if value is not None}

    @property
    def gpu(self) -> dict[str, Any]:
        """Snakemake's resources of a job with one GPU."""
        if self.gpu_as == "gres":
            return {"gres": repr(":".join(filter(None, ["gpu", self.gpu_model, "1"])))}
        return {"gpu": 1} if self.gpu_model is None else {"gpu": 1, "gpu_model": repr(self.gpu_model)}

    @property
    def options(self) -> list[str]:
        """The same for sbatch and srun themselves: a job with one GPU."""
        named = {"-p": self.partition, "-A": self.account, "-C": self.constraint, "-q": self.qos}
        gpu = ":".join(filter(None, [self.gpu_model, "1"]))
        asked = f"--gres=gpu:{gpu}" if self.gpu_as == "gres" else f"--gpus={gpu}"
        return [part for flag, value in named.items() if value is not None for part in (flag, value)] + [asked]

    @cached_property
    def limit_min(self) -> int | None:
        """Minutes a job may take at most; None where nothing limits it, or no SLURM is there to ask."""
        found = None if self.partition == PLACEHOLDER else slurm.partition(self.partition)
        limits = (self.job_limit_min, found.limit_min if found is not None else None)
        return min((limit for limit in limits if limit is not None), default=None)

    def at_most(self, minutes: int) -> int:
        """`minutes`, or the limit if that is less."""
        return minutes if self.limit_min is None else min(minutes, self.limit_min)

    def job_min(self, work_min: int) -> int:
        """Minutes to ask for, for a job that works that long beside its overhead, or for the first part of it."""
        return self.at_most(max(RUNTIME_FLOOR_MIN, work_min + OVERHEAD_MIN))

    def jobs_needed(self, work_min: int) -> int:
        """How many jobs a run of `work_min` minutes takes, one after the other."""
        if self.limit_min is None:
            return 1
        return max(1, ceil(work_min / max(1, self.limit_min - OVERHEAD_MIN)))


def read_site(path: Path = SITE_FILE) -> Site:
    """The site of that file. Raises UserError, a line for each wrong key."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Site.model_validate(found)
    except FileNotFoundError:
        raise UserError(f"{path}: not there; get it back with `git checkout {path}`, and fill it in") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        raise UserError(
            [
                f"{path}: {'.'.join(str(part) for part in problem['loc'])}: {problem['input']!r}: {problem['msg']}"
                for problem in error.errors()
            ]
        ) from None


def fill_profile(path: Path | None = None) -> Site:
    """The site, for the profile that is being read. Prints the user's mistakes, one line each, and exits with status 2.

    `path` is the site file; None: the one beside the profile that this process was started with (`site_file`).
    """
    global _in_use, _read_from
    try:
        path = site_file(sys.argv[1:]) if path is None else path
        site = read_site(path)
    except UserError as error:
        exit_with(error)
    _in_use, _read_from = site, path
    return site


def site_file(arguments: Sequence[str]) -> Path:
    """The site file beside the profile that Snakemake's command line names, wherever Snakemake was started from.

    Snakemake does not tell a profile where it lies, so that the profile is looked up here once more, by Snakemake's own search.
    Where several are named the last one with a site file counts; where none has one, the file of this folder's project.
    """
    parser = argparse.ArgumentParser(add_help=False)
    for option in ("--profile", "--workflow-profile"):
        parser.add_argument(option, dest="profiles", action="append")
    named = parser.parse_known_args([*arguments])[0].profiles or [os.environ.get("SNAKEMAKE_PROFILE", "")]
    for profile in reversed(list(filter(None, named))):
        # Imported here: a process that reads a profile has it loaded, and isoclock's own verbs need none of it.
        from snakemake.cli import get_profile_dir

        found = get_profile_dir(profile)
        beside = found[0] / SITE_FILE.name if found else None
        if beside is not None and beside.is_file():
            ours = SITE_FILE.is_file() and beside.samefile(SITE_FILE)
            return SITE_FILE if ours else beside.resolve()  # --directory would change what a relative path means
    return SITE_FILE


def in_use() -> Site | None:
    """The site that this process fills its profile from; None where the slurm profile is not in use, and within jobs."""
    return _in_use


def check_filled_in(site: Site | None) -> None:
    """Before the first job: raises UserError naming the placeholders that are left. Dry runs do without this."""
    if site is not None and site.placeholders:
        raise UserError(
            f"{_read_from}: {', '.join(site.placeholders)}: still {PLACEHOLDER}; write this cluster's value, or null for its "
            "default, then `isoclock doctor` checks them"
        )


def exit_with(error: UserError) -> NoReturn:
    """Print each problem in a line and end the process: a workflow engine would wrap it in a traceback."""
    for problem in error.problems:
        print(f"isoclock: {problem}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
