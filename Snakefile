# The pipeline: prepare -> teacher -> profile -> plan -> student -> evaluate -> report. Each verb has a rule file.
#   snakemake --profile slurm all                         on a cluster
#   snakemake --profile workflow/profiles/local all       on this machine
#   ... --config grid=NAME                                a grid of params/grids (default: demo)
# All rules name environment.yml as their software. It contains isoclock itself and is active before Snakemake starts, so that
# --software-deployment-method is not needed.
from snakemake.utils import min_version

from isoclock.dag.interrupts import catch_interrupts, interrupted
from isoclock.dag.start import open_targets
from isoclock.grid.jobs import SYNC_STAGES
from isoclock.schema import NAME_PATTERN

min_version("9.27")
catch_interrupts()


report: "workflow/report/workflow.rst"


TARGETS = open_targets(config)
NAME = NAME_PATTERN  # the rule that `isoclock check` applies to every name


wildcard_constraints:
    dataset=NAME,
    pair=NAME,
    model=NAME,
    method=rf"(?!accepted/){NAME}",
    budget=NAME,
    seed="0|[1-9][0-9]*",
    grid=NAME,
    stage="|".join(SYNC_STAGES),


localrules:
    all,
    prepared,
    teachers,
    teacher_gate,
    profiles,
    plans,
    students,
    evaluations,
    reported,
    budget,
    plan,
    report,
    sync,


# What the report reads is named too: Snakemake makes no input again that was deleted, if what was made from it is still there.
rule all:
    input:
        TARGETS.outputs("report"),
        TARGETS.outputs("sync"),
        TARGETS.outputs("teacher"),
        TARGETS.outputs("evaluate_teacher"),
        TARGETS.outputs("profile"),
        TARGETS.outputs("plan"),
        TARGETS.outputs("student"),
        TARGETS.outputs("evaluate"),


include: "workflow/rules/targets.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/teacher_gate.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sync.smk"


# Report and sync need all cells. If a cell has failed, they are made from the other cells: the report shows a hole, and MLflow
# the failed run. An error in one of the two is printed and does not stop the other. After Ctrl-C they are left to the next start.
onerror:
    if not interrupted():
        shell("isoclock report --grid {TARGETS.grid:q} || true")
        shell("isoclock sync --grid {TARGETS.grid:q} || true")
