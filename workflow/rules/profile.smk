# Measure what an iteration of a method costs. The job takes the whole machine, so that no other job disturbs the measurement.


rule profile:
    input:
        stamp="results/stamps/profile/{dataset}/{pair}/{method}.json",
        data="results/data/{dataset}/index.json",
        gate=lambda wildcards: TARGETS.gate(wildcards, checkpoints),
    output:
        profile="results/profile/{dataset}/{pair}/{method}.json",
    log:
        "runs/logs/profile/{dataset}/{pair}/{method}.log",
    priority: 2  # before the teacher, so that students without a teacher can train at the same time as it
    conda:
        "../../environment.yml"
    threads: 1024  # all cores; the slurm profile requests fewer
    resources:
        runtime=lambda wildcards: TARGETS.resources.runtime_min("profile"),
    params:
        device=lambda wildcards, resources: TARGETS.resources.device(resources),
        study=lambda wildcards, resources: TARGETS.study_option,
    shell:
        "ISOCLOCK_DEVICE=${{ISOCLOCK_DEVICE:-{params.device:q}}} isoclock --log {log:q} profile "
        "{wildcards.dataset:q} {wildcards.pair:q} {wildcards.method:q} {params.study:q}"
