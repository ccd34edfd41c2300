# Measure what an iteration of a method costs. For a study it takes the whole machine, so that no neighbour is in the numbers;
# otherwise it has neighbours, as the students after it have.


rule profile:
    input:
        stamp="results/stamps/profile/{dataset}/{pair}/{method}.json",
        data="results/data/{dataset}/index.json",
    output:
        profile="results/profile/{dataset}/{pair}/{method}.json",
    log:
        "runs/logs/profile/{dataset}/{pair}/{method}.log",
    conda:
        "../../environment.yml"
    threads: lambda wildcards: STUDY.profile_threads(wildcards.dataset)
    resources:
        runtime=lambda wildcards: STUDY.runtime_min("profile"),
    params:
        study=lambda wildcards, resources: STUDY.study_option,
    shell:
        "isoclock --log {log} profile {wildcards.dataset} {wildcards.pair} {wildcards.method} {params.study}"
