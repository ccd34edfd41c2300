# Bring MLflow up to date at the end of a stage. A store that is out of reach fails these jobs and no others.


rule sync:
    input:
        STUDY.synced_after,
    output:
        touch("results/sync/{grid}/{stage}.done"),
    log:
        "runs/logs/sync/{grid}/{stage}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log} sync --grid {wildcards.grid}"
