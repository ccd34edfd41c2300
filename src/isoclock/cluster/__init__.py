"""The SLURM cluster of a study: site settings, queries, and checks of cluster and machine (`isoclock doctor`)."""
