# Score the last weights of a student or a teacher on whole validation images, as `scoring` of its recipe says. A change of
# `scoring` trains nothing again. A teacher's scores are in the folder of its weights.


rule evaluate:
    input:
        stamp="results/stamps/evaluate/{dataset}.json",
        data="results/data/{dataset}/index.json",
        record="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/record.json",
    output:
        scores="results/evaluate/{dataset}/{pair}/{method}/{budget}/{seed}/scores.json",
        confusion="results/evaluate/{dataset}/{pair}/{method}/{budget}/{seed}/confusion.npz",
        overlays=directory(
            "results/evaluate/{dataset}/{pair}/{method}/{budget}/{seed}/overlays"
        ),
    log:
        "runs/logs/evaluate/{dataset}/{pair}/{method}/{budget}/{seed}.log",
    conda:
        "../../environment.yml"
    threads: lambda wildcards: TARGETS.resources.threads(wildcards.dataset, "student")
    resources:
        runtime=lambda wildcards: TARGETS.resources.runtime_min("evaluate"),
    params:
        device=lambda wildcards, resources: TARGETS.resources.device(resources),
    shell:
        "ISOCLOCK_DEVICE=${{ISOCLOCK_DEVICE:-{params.device:q}}} isoclock --log {log:q} evaluate "
        "{wildcards.dataset:q}/{wildcards.pair:q}/{wildcards.method:q}/{wildcards.budget:q}/{wildcards.seed:q}"


rule evaluate_teacher:
    input:
        stamp="results/stamps/evaluate_teacher/{dataset}.json",
        data="results/data/{dataset}/index.json",
        record="results/teacher/{dataset}/{model}/record.json",
    output:
        scores="results/teacher/{dataset}/{model}/scores.json",
        confusion="results/teacher/{dataset}/{model}/confusion.npz",
        overlays=directory("results/teacher/{dataset}/{model}/overlays"),
    log:
        "runs/logs/evaluate_teacher/{dataset}/{model}.log",
    conda:
        "../../environment.yml"
    threads: lambda wildcards: TARGETS.resources.threads(wildcards.dataset, "teacher")
    resources:
        runtime=lambda wildcards: TARGETS.resources.runtime_min("evaluate"),
    params:
        device=lambda wildcards, resources: TARGETS.resources.device(resources),
    shell:
        "ISOCLOCK_DEVICE=${{ISOCLOCK_DEVICE:-{params.device:q}}} isoclock --log {log:q} evaluate "
        "{wildcards.dataset:q}/{wildcards.model:q}"
