"""Passwords and tokens have no place in params/: what stands there is written into stamps, records, MLflow and reports."""

from __future__ import annotations

import re
from pathlib import Path

# What services give out, told by its beginning; a password in an address; a value under a telling name.
_TOKEN = re.compile(
    r"\b(hf_\w{20,}|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|sk-[\w-]{20,}|xox[abps]-[\w-]{10,})"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_NAMED = re.compile(
    r"(?i)\b\w*(?:token|password|passwd|secret|api_?key)\b[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"',}&]{8,})"
)


def holds_credential(text: str) -> bool:
    """Whether a text holds what looks like a password or a token."""
    return any(pattern.search(text) for pattern in (_TOKEN, _IN_ADDRESS, _NAMED))


def credential_problems(folder: Path) -> list[str]:
    """A line for each line of params/ that holds what looks like a credential. The line itself is never repeated."""
    return [
        f"{path}: line {number}: holds what looks like a password or a token; everything here is written into results and "
        f"MLflow: take it out, revoke it, and give it to the program that needs it by its environment"
        for path in sorted(folder.rglob("*.yaml"))
        for number, line in enumerate(_lines(path), 1)
        if holds_credential(line)
    ]


def _lines(path: Path) -> list[str]:
    """Nothing of a file that cannot be read: whoever needs it will say so."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
