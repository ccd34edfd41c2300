# Named targets: one for each stage, so that a stage can be asked for by name (DVC does).


rule prepared:
    input:
        STUDY.prepared(),


rule teachers:
    input:
        STUDY.teachers(),


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
