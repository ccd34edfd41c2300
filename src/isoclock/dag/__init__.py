"""The Snakemake and DVC side: which files a grid needs, and adopting results from elsewhere."""
