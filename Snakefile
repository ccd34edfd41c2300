# The pipeline: prepare -> teacher -> profile -> plan -> student -> evaluate -> report. Each verb has a rule file.
#   snakemake --profile slurm all                         on a cluster
#   snakemake --profile workflow/profiles/local all       on this machine
#   ... --config grid=NAME                                a grid of params/grids (default: demo)
# All rules name environment.yml as their software. It contains isoclock itself and is active before Snakemake starts, so that
# --software-deployment-method is not needed.
from snakemake.utils import min_version

from isoclock.dag.start import open_targets

min_version("9.27")

TARGETS = open_targets(config)


wildcard_constraints:
    dataset=r"[a-z0-9][a-z0-9_.-]*",
    pair=r"[a-z0-9][a-z0-9_.-]*",
    model=r"[a-z0-9][a-z0-9_.-]*",
    method=r"(?!accepted/)[a-z0-9][a-z0-9_.-]*",
    budget=r"[a-z0-9][a-z0-9_.-]*",
    seed=r"\d+",


localrules:
    all,
    prepared,
    teachers,
    profiles,
    plans,
    students,
    evaluations,
    reported,
    budget,
    plan,
    report,
    sync,


rule all:
    input:
        TARGETS.outputs("report"),
        TARGETS.outputs("sync"),


include: "workflow/rules/targets.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sync.smk"


# Report and sync need all cells. If a cell has failed, they are made from the other cells: the report shows a hole, and MLflow
# the failed run. An error in one of the two is printed and does not stop the other.
onerror:
    shell(f"isoclock report --grid {TARGETS.grid} || true")
    shell(f"isoclock sync --grid {TARGETS.grid} || true")
