# Tables, figures and one page about a grid.


rule report:
    input:
        grid="results/stamps/grid/{grid}.json",
        students=STUDY.students(),
        scores=STUDY.evaluations(),
        profiles=STUDY.profiles(),
        plans=STUDY.plans(),
        teachers=STUDY.teacher_scores(),
    output:
        page="results/report/{grid}/report.html",
    log:
        "runs/logs/report/{grid}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log} report --grid {wildcards.grid}"
