# Train a teacher. Checkpoints are below runs/, which is no rule's output, so that a killed job can be resumed.


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
    priority: 1  # before students without a teacher
    retries: TARGETS.resources.retries("teacher")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: TARGETS.resources.threads(wildcards.dataset, "teacher")
    resources:
        runtime=lambda wildcards: TARGETS.resources.runtime_min("teacher"),
    params:
        device=lambda wildcards, resources: TARGETS.resources.device(resources),
        study=lambda wildcards, resources: TARGETS.study_option,
    shell:
        "ISOCLOCK_DEVICE=${{ISOCLOCK_DEVICE:-{params.device:q}}} isoclock --log {log:q} teacher "
        "{wildcards.dataset:q} {wildcards.model:q} {params.study:q}"
