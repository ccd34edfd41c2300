# The pipeline: prepare -> teacher -> profile -> plan -> student -> evaluate -> report. One rule file a verb.
#   snakemake --profile slurm all                         on a cluster
#   snakemake --profile workflow/profiles/local all       on this machine
#   ... --config grid=NAME                                a grid of params/grids (default: demo)
# Rules name environment.yml as the software they need. It is one for all, has isoclock itself in it, and is active before
# Snakemake starts: there is nothing for --software-deployment-method to do.
from snakemake.utils import min_version

from isoclock.dag.targets import Study

min_version("9.27")

STUDY = Study.open(config)


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
        STUDY.report(),
        STUDY.syncs(),


include: "workflow/rules/targets.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/teacher.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/student.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sync.smk"


# Report and sync need all cells. Where one has failed they are made from the others: the report shows the hole, MLflow the failed
# run. What is in the way of either is told, and the other still done.
onerror:
    shell(f"isoclock report --grid {STUDY.grid} || true")
    shell(f"isoclock sync --grid {STUDY.grid} || true")
