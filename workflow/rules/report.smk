# Make the tables, the figures and the page of a grid.


rule report:
    input:
        stamp="results/stamps/grid/{grid}.json",
        students=TARGETS.students(),
        scores=TARGETS.evaluations(),
        profiles=TARGETS.profiles(),
        plans=TARGETS.plans(),
        teachers=TARGETS.teacher_scores(),
    output:
        page="results/report/{grid}/report.html",
    log:
        "runs/logs/report/{grid}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log} report --grid {wildcards.grid}"
