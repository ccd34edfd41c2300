"""Part `goldens`: numbers from the authors' own code, in float64 on the device, both implementations."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from rows import Rows, part_arguments

ROOT = Path(__file__).resolve().parents[2]
TESTS = "tests/fidelity"


def main() -> None:
    """One row of counts, and one for each test that failed."""
    arguments = part_arguments(__doc__).parse_args()
    rows = Rows(arguments.out)
    report = arguments.out.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", TESTS]
    command += ["--device", arguments.device, f"--junitxml={report}"]
    if arguments.tiny:
        command += ["-k", "kd"]
    subprocess.run(command, cwd=ROOT, timeout=arguments.seconds, check=False)
    cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    rows.put(kind="counts", passed=len(cases) - len(bad) - skipped, failed=len(bad), skipped=skipped)
    for case in bad:
        found = case.find("failure")
        found = found if found is not None else case.find("error")
        message = (found.get("message") or "") if found is not None else ""
        rows.put(kind="failure", test=case.get("name"), message=" ".join(message.split())[:200].replace("|", "/"))


if __name__ == "__main__":
    main()
