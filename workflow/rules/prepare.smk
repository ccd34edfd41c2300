# Check a raw data set and pack it. The raw files are no input, because a checkout changes their times. After a change of raw
# data, run `isoclock prepare DATASET`, or `dvc repro`, which compares their content.


rule prepare:
    input:
        stamp="results/stamps/prepare/{dataset}.json",
    output:
        index="results/data/{dataset}/index.json",
    log:
        "runs/logs/prepare/{dataset}.log",
    conda:
        "../../environment.yml"
    threads: 1024  # all cores; the slurm profile requests fewer
    shell:
        "isoclock --log {log:q} prepare {wildcards.dataset:q} --workers {threads:q}"
