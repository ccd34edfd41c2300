"""Where a study runs: what a site's SLURM is like, what it says of itself, and what is missing there or on this machine."""
