# Train one cell for exactly its planned iterations. A yardstick's cell under a compute budget is the same training as under the
# iteration budget that this one is made from: it waits for that cell, and takes it over.


rule student:
    input:
        stamp="results/stamps/student/{dataset}/{pair}/{method}.json",
        data="results/data/{dataset}/index.json",
        plan="results/plan/{dataset}/{pair}/{method}/{budget}.json",
        teacher=STUDY.teacher_of,
        same=STUDY.trained_before,
    output:
        record="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/record.json",
        weights="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/weights.safetensors",
        ledger="results/student/{dataset}/{pair}/{method}/{budget}/{seed}/ledger.jsonl",
    log:
        "runs/logs/student/{dataset}/{pair}/{method}/{budget}/{seed}.log",
    retries: STUDY.retries("student")
    conda:
        "../../environment.yml"
    threads: lambda wildcards: STUDY.threads(wildcards.dataset, "student")
    resources:
        runtime=lambda wildcards, input: STUDY.student_runtime_min(input.plan),
    params:
        study=lambda wildcards, resources: STUDY.study_option,
    shell:
        "isoclock --log {log} student "
        "{wildcards.dataset}/{wildcards.pair}/{wildcards.method}/{wildcards.budget}/{wildcards.seed} {params.study}"
