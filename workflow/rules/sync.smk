# Bring MLflow up to date at the end of a stage. If the store cannot be reached, only these jobs fail.


rule sync:
    input:
        after=TARGETS.synced_after,
    output:
        mark=touch("results/sync/{grid}/{stage}.done"),
    log:
        "runs/logs/sync/{grid}/{stage}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log:q} sync --grid {wildcards.grid:q}"
