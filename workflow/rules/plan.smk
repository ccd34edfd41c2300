# Pure arithmetic. A budget is accepted once: a new profile of its yardstick does not move it, only `isoclock plan
# --refresh-budget` does, and a change of what it is about. So its yardstick's profile is `ancient`, except while the budget has to be
# resolved again: Snakemake (9.27) leaves a job out, whatever its other inputs, where an ancient input of it is made again.


rule budget:
    input:
        stamp="results/stamps/budget/{dataset}/{pair}/{budget}.json",
        yardstick=lambda wildcards: (
            STUDY.yardstick_profile(wildcards)
            if STUDY.is_to_be_resolved(wildcards)
            else ancient(STUDY.yardstick_profile(wildcards))
        ),
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
