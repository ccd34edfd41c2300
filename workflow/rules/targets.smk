# A named target for each stage; the stages of dvc.yaml use them. `onstart` runs before the first job, and not in a dry run, which
# needs no cluster.


onstart:
    TARGETS.check_site()


rule prepared:
    input:
        TARGETS.prepared(),


rule teachers:
    input:
        TARGETS.teachers(),
        TARGETS.teacher_scores(),


rule profiles:
    input:
        TARGETS.profiles(),


rule plans:
    input:
        TARGETS.plans(),


rule students:
    input:
        TARGETS.students(),


rule evaluations:
    input:
        TARGETS.evaluations(),


rule reported:
    input:
        TARGETS.report(),
