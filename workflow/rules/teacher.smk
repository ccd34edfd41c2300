# Train a teacher. What a killed job can go on from lies in runs/, which is no rule's output.


rule teacher:
    input:
        stamp="results/stamps/teacher/{dataset}/{model}.json",
        data="results/data/{dataset}/index.json",
    output:
        record="results/teacher/{dataset}/{model}/record.json",
        weights="results/teacher/{dataset}/{model}/weights.safetensors",
        ledger="results/teacher/{dataset}/{model}/ledger.jsonl",
    log:
        "runs/logs/teacher/{dataset}/{model}.log",
    priority: 1  # before the students that need none
    retries: STUDY.retries("teacher")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: STUDY.threads(wildcards.dataset, "teacher")
    resources:
        runtime=lambda wildcards: STUDY.runtime_min("teacher"),
    params:
        study=lambda wildcards, resources: STUDY.study_option,
    shell:
        "isoclock --log {log} teacher {wildcards.dataset} {wildcards.model} {params.study}"
