# Score the last weights of a student on whole validation images.


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
    threads: lambda wildcards: STUDY.threads(wildcards.dataset, "student")
    resources:
        runtime=lambda wildcards: STUDY.runtime_min("evaluate"),
    shell:
        "isoclock --log {log} evaluate "
        "{wildcards.dataset}/{wildcards.pair}/{wildcards.method}/{wildcards.budget}/{wildcards.seed}"
