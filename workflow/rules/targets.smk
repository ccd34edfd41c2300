# A named target for each stage; the stages of dvc.yaml use them. `onstart` runs before the first job, and not in a dry run, which
# needs no cluster.


onstart:
    TARGETS.check_site()


rule prepared:
    input:
        TARGETS.outputs("prepare"),


rule teachers:
    input:
        TARGETS.outputs("teacher"),
        TARGETS.outputs("evaluate_teacher"),


rule profiles:
    input:
        TARGETS.outputs("profile"),


rule plans:
    input:
        TARGETS.outputs("plan"),


rule students:
    input:
        TARGETS.outputs("student"),


rule evaluations:
    input:
        TARGETS.outputs("evaluate"),


rule reported:
    input:
        TARGETS.outputs("report"),
