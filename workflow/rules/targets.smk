# Named targets: one for each stage, so that a stage can be asked for by name (DVC does). And what is looked at before the first
# job: Snakemake runs `onstart` then, and not for a dry run, which needs no cluster.


onstart:
    STUDY.check_site()


rule prepared:
    input:
        STUDY.prepared(),


rule teachers:
    input:
        STUDY.teachers(),
        STUDY.teacher_scores(),


rule profiles:
    input:
        STUDY.profiles(),


rule plans:
    input:
        STUDY.plans(),


rule students:
    input:
        STUDY.students(),


rule evaluations:
    input:
        STUDY.evaluations(),


rule reported:
    input:
        STUDY.report(),
