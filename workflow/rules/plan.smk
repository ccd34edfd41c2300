# Pure arithmetic. A budget is accepted once. A new profile of its yardstick does not change it; `isoclock plan
# --refresh-budget` does, and so does a change of its entry, recipe or networks. So the profile is `ancient`, unless the budget has
# to be resolved again: Snakemake (9.27) skips a job with an ancient input that is made again, even if other inputs changed.


rule budget:
    input:
        stamp="results/stamps/budget/{dataset}/{pair}/{budget}.json",
        yardstick=lambda wildcards: (
            TARGETS.yardstick_profile(wildcards)
            if TARGETS.is_to_be_resolved(wildcards)
            else ancient(TARGETS.yardstick_profile(wildcards))
        ),
    output:
        accepted="results/plan/{dataset}/{pair}/accepted/{budget}.json",
    log:
        "runs/logs/budget/{dataset}/{pair}/{budget}.log",
    conda:
        "../../environment.yml"
    shell:
        "isoclock --log {log:q} plan {wildcards.dataset:q} {wildcards.pair:q} {wildcards.budget:q}"


rule plan:
    input:
        profile=TARGETS.profile_of,
        accepted="results/plan/{dataset}/{pair}/accepted/{budget}.json",
    output:
        plan="results/plan/{dataset}/{pair}/{method}/{budget}.json",
    log:
        "runs/logs/plan/{dataset}/{pair}/{method}/{budget}.log",
    conda:
        "../../environment.yml"
    params:
        study="--study" if TARGETS.is_study else "",
    shell:
        "isoclock --log {log:q} plan "
        "{wildcards.dataset:q} {wildcards.pair:q} {wildcards.budget:q} {wildcards.method:q} {params.study:q}"
