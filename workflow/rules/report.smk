# Make the tables, the figures and the page of a grid.


rule report:
    input:
        stamp="results/stamps/grid/{grid}.json",
        students=TARGETS.outputs("student"),
        scores=TARGETS.outputs("evaluate"),
        profiles=TARGETS.outputs("profile"),
        plans=TARGETS.outputs("plan"),
        teachers=TARGETS.outputs("evaluate_teacher"),
    output:
        page="results/report/{grid}/report.html",
    log:
        "runs/logs/report/{grid}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log:q} report --grid {wildcards.grid:q}"
