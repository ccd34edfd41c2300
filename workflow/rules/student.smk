# Train one cell for exactly its planned iterations. A yardstick's cell under a compute budget is the same training as its cell
# under the iteration budget of the same length: it waits for that cell and reuses its result.


rule student:
    input:
        stamp="results/stamps/student/{dataset}/{pair}/{method}.json",
        data="results/data/{dataset}/index.json",
        plan="results/plan/{dataset}/{pair}/{method}/{budget}.json",
        teacher=TARGETS.teacher_of,
        same=TARGETS.trained_before,
        gate=lambda wildcards: TARGETS.gate(wildcards, checkpoints),
    output:
        record="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/record.json",
        weights="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/weights.safetensors",
        ledger="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/ledger.jsonl",
    log:
        "runs/logs/student/{dataset}/{pair}/{method}/{budget}/{seed}.log",
    retries: TARGETS.resources.retries("student")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: TARGETS.resources.threads(wildcards.dataset, "student")
    resources:
        runtime=lambda wildcards, input: TARGETS.resources.student_runtime_min(
            input.plan
        ),
    params:
        device=lambda wildcards, resources: TARGETS.resources.device(resources),
        study=lambda wildcards, resources: TARGETS.study_option,
    shell:
        "ISOCLOCK_DEVICE=${{ISOCLOCK_DEVICE:-{params.device:q}}} isoclock --log {log:q} student "
        "{wildcards.dataset:q}/{wildcards.pair:q}/{wildcards.method:q}/{wildcards.budget:q}/{wildcards.seed:q} {params.study:q}"
