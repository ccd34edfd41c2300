# Bring MLflow up to date at the end of a stage. A store that is out of reach fails these jobs and no others.


STAGES = {
    "teacher": STUDY.teachers() + STUDY.profiles(),
    "student": STUDY.students(),
    "report": [STUDY.report()],
}


rule sync:
    input:
        lambda wildcards: STAGES[wildcards.stage],
    output:
        touch("results/sync/{grid}/{stage}.done"),
    log:
        "runs/logs/sync/{grid}/{stage}.log",
    shell:
        "isoclock --log {log} sync --grid {wildcards.grid}"
