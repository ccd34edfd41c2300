"""All jobs of a grid in this process, by the commands that its rules run, in the order of the rules."""

from __future__ import annotations

from isoclock.cli.main import main
from isoclock.grid.dependencies import Job
from isoclock.grid.jobs import GridJobs
from isoclock.grid.layout import Layout
from isoclock.params.check import load_params

BUDGET = ("dataset", "pair", "budget")


def run_grid(name: str) -> list[str]:
    """Run the jobs of a grid of the study in the working directory, up to its report. Returns their rules, in order."""
    rules = []
    for job in GridJobs.of_grid(load_params(), name, Layout()).all():
        if job.rule != "sync":
            command = arguments(job)
            assert main(command) == 0, command
            rules.append(job.rule)
    return rules


def arguments(job: Job) -> list[str]:
    """The arguments of the command line that a job stands for."""
    words = list(job.wildcards.values())
    if job.rule in ("student", "evaluate", "evaluate_teacher"):
        return [job.rule.removesuffix("_teacher"), "/".join(words)]
    if job.rule == "teacher_gate":
        return ["gate", words[0], "/".join(words[1:])]
    if job.rule in ("budget", "plan"):
        method = [job.wildcards["method"]] if job.rule == "plan" else []
        return ["plan", *(job.wildcards[key] for key in BUDGET), *method]
    return [job.rule, *(["--grid"] if job.rule == "report" else []), *words]
