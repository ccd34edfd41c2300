"""The cluster's part of `isoclock doctor`, for a site file of a test's own."""

from __future__ import annotations

from pathlib import Path

import yaml

from isoclock.cluster.doctor_slurm import examine_cluster
from isoclock.cluster.finding import Finding
from isoclock.cluster.site import SITE_FILE


def examined(folder: Path, *, try_job: bool = False, **site: object) -> dict[str, Finding]:
    """What is found with these values in the site file of the study in `folder`."""
    write_site(folder, **site)
    return {finding.what: finding for finding in examine_cluster(folder, try_job=try_job)}


def write_site(folder: Path, **site: object) -> Path:
    """Write that file; the folder it lies in is the profile's."""
    path = folder / SITE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"partition": "gpu", "account": None, **site}))
    return path.parent
