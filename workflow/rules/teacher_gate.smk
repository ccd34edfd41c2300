# Compare the score of a pair's teacher with `teacher_miou_at_least` of the grid. Profiles and students wait for it, and below
# it the grid ends, with the figure, before any of them starts. Only gates and imported teachers have a job. It is a checkpoint: so
# profiles and students do not have its mark among their inputs, and are not made again because of it.


checkpoint teacher_gate:
    input:
        scores=TARGETS.gated_scores,
    output:
        mark=touch("results/gate/{grid}/{dataset}/{pair}.done"),
    log:
        "runs/logs/teacher_gate/{grid}/{dataset}/{pair}.log",
    retries: 0
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log:q} gate {wildcards.grid:q} {wildcards.dataset:q}/{wildcards.pair:q}"
