# Pure arithmetic. A budget is accepted once: a new profile of its yardstick does not move it (`ancient`), only
# `isoclock plan --refresh-budget` does.


rule budget:
    input:
        stamp="results/stamps/budget/{dataset}/{pair}/{budget}.json",
        yardstick=ancient(STUDY.yardstick_profile),
    output:
        accepted="results/plan/{dataset}/{pair}/accepted/{budget}.json",
    log:
        "runs/logs/plan/{dataset}/{pair}/accepted/{budget}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log} plan {wildcards.dataset} {wildcards.pair} {wildcards.budget}"


rule plan:
    input:
        profile="results/profile/{dataset}/{pair}/{method}.json",
        accepted="results/plan/{dataset}/{pair}/accepted/{budget}.json",
    output:
        plan="results/plan/{dataset}/{pair}/{method}/{budget}.json",
    log:
        "runs/logs/plan/{dataset}/{pair}/{method}/{budget}.log",
    conda:
        "../../environment.yml"
    params:
        study="--study" if STUDY.is_study else "",
    shell:
        "isoclock --log {log} plan {wildcards.dataset} {wildcards.pair} {wildcards.budget} {wildcards.method} {params.study}"
