# Measure what an iteration of a method costs. It takes the whole machine, so that no neighbour is in the numbers.


rule profile:
    input:
        stamp="results/stamps/profile/{dataset}/{pair}/{method}.json",
        data="results/data/{dataset}/index.json",
    output:
        profile="results/profile/{dataset}/{pair}/{method}.json",
    log:
        "runs/logs/profile/{dataset}/{pair}/{method}.log",
    priority: 2  # before the teacher, on one machine: then students that need none train beside it
    conda:
        "../../environment.yml"
    threads: 1024  # all there are; the slurm profile asks for fewer
    resources:
        runtime=lambda wildcards: STUDY.runtime_min("profile"),
    params:
        study=lambda wildcards, resources: STUDY.study_option,
    shell:
        "isoclock --log {log} profile {wildcards.dataset} {wildcards.pair} {wildcards.method} {params.study}"
