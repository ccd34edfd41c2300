# Make the tables, the figures and the page of a grid. `snakemake --report` shows what is marked with `report`.


rule report:
    input:
        stamp="results/stamps/grid/{grid}.json",
        students=TARGETS.outputs("student"),
        scores=TARGETS.outputs("evaluate"),
        profiles=TARGETS.outputs("profile"),
        plans=TARGETS.outputs("plan"),
        teachers=TARGETS.outputs("evaluate_teacher"),
    output:
        page=report(
            "results/report/{grid}/report.html",
            caption="../report/page.rst",
            category="Report",
            labels={"grid": "{grid}", "content": "everything on one page"},
        ),
        comparison=report(
            "results/report/{grid}/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"grid": "{grid}", "content": "methods, over seeds"},
        ),
        cells=report(
            "results/report/{grid}/cells.csv",
            caption="../report/cells.rst",
            category="Tables",
            labels={"grid": "{grid}", "content": "cells"},
        ),
        figures=report(
            directory("results/report/{grid}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"grid": "{grid}", "figure": "{figure}"},
        ),
    log:
        "runs/logs/report/{grid}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log:q} report --grid {wildcards.grid:q}"
