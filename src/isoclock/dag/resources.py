"""What the workflow requests for its jobs: minutes, CPU threads and retries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoclock.cluster.site import OVERHEAD_MIN, RUNTIME_FLOOR_MIN, Site
from isoclock.errors import ArtifactError
from isoclock.params.load import Params
from isoclock.records.document import read
from isoclock.records.plan import Plan

RUNTIME_MARGIN = 1.5  # over planned seconds: evaluations, checkpoints and a slower node
# Minutes of work of a job without a plan. A teacher's steps are not profiled, and a student's plan may not exist when the
# workflow is read for the first time. With its overhead it is a day, the limit of many a QOS; a shorter limit splits it.
A_DAY_MIN = 24 * 60 - OVERHEAD_MIN
ASSUMED_MIN = {"teacher": A_DAY_MIN, "student": A_DAY_MIN, "profile": 60, "evaluate": 60}


# No repr: Snakemake looks for odd paths in the text of an input function, and of the object it is bound to.
@dataclass(frozen=True, repr=False)
class JobResources:
    """Resources of the jobs of a grid. `plans` are the paths of its plans."""

    params: Params
    plans: Sequence[str]
    site: Site | None  # of the cluster that this process submits jobs to, if any

    def threads(self, dataset: str, role: str) -> int:
        """CPU threads of a training process and its loader's workers."""
        recipe = self.params.recipe(dataset, role)
        return recipe.threads + recipe.workers

    def student_runtime_min(self, plan: str) -> int:
        """Minutes to request for a student: those of its plan, or the longest job of the cluster if that is less.

        Raises FileNotFoundError if the plan does not exist yet; Snakemake then calls again later.
        """
        return self._job_min(_planned_min(Path(plan)))

    def runtime_min(self, rule: str) -> int:
        """Minutes to request for a job of a rule without a plan."""
        return self._job_min(ASSUMED_MIN[rule])

    def retries(self, rule: str) -> int | None:
        """How often a job of `rule` (teacher or student) is submitted again: the jobs that its run needs, and some to spare.

        None if no cluster is in use: then the number of the profile or the command line holds, and none within a job.
        """
        if self.site is None:
            return None
        work = [ASSUMED_MIN[rule]]
        if rule == "student":
            plans = [Path(plan) for plan in self.plans]
            work = [_planned_min(plan) if plan.is_file() else ASSUMED_MIN[rule] for plan in plans]
        return self.site.jobs_needed(max(work)) + self.site.spare_retries

    def device(self, resources: Mapping[str, Any]) -> str:
        """`cuda` for a job with a GPU, so that it refuses to work without it; else empty. `resources` are the job's.

        Rules use it where ISOCLOCK_DEVICE is not set.
        """
        return "cuda" if resources.get("gpu") or "gpu" in str(resources.get("gres", "")) else ""

    def _job_min(self, work_min: int) -> int:
        return max(RUNTIME_FLOOR_MIN, work_min) if self.site is None else self.site.job_min(work_min)


def _planned_min(plan: Path) -> int:
    plan.stat()  # raises FileNotFoundError if the plan does not exist yet
    try:
        planned_s = read(plan, Plan, "plan").planned_s
    except ArtifactError:  # the plan is made again before the job starts, or the job reports the error
        return ASSUMED_MIN["student"]
    return math.ceil(planned_s * RUNTIME_MARGIN / 60)
