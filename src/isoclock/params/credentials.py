"""Finding passwords and tokens in params/, whose values are written into stamps, records, MLflow and reports."""

from __future__ import annotations

import re
from pathlib import Path

from isoclock.params.yaml_loader import read_text

# Tokens of well-known services, by their prefix; a password in a URL; a value whose key names a secret.
_TOKEN = re.compile(
    r"\b(hf_\w{20,}|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}|sk-[\w-]{20,}|xox[abps]-[\w-]{10,})"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_NAMED = re.compile(
    r"(?i)\b\w*(?:token|password|passwd|secret|api_?key)\b[\"']?\s*[:=]\s*[\"']?(?P<value>[^\s\"',}&]{8,})"
)


def holds_credential(text: str) -> bool:
    """Whether a text contains what looks like a password or a token."""
    return any(pattern.search(text) for pattern in (_TOKEN, _IN_ADDRESS, _NAMED))


def credential_problems(folder: Path) -> list[str]:
    """A problem for each line of params/ that looks like a credential. The line itself is never printed."""
    return [
        f"{path}: line {number}: looks like a password or a token, and values in params/ are written into results and MLflow; "
        "remove it, revoke it, and pass it in an environment variable"
        for path in sorted(folder.rglob("*.yaml"))
        for number, line in enumerate(_lines(path), 1)
        if holds_credential(line)
    ]


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it cannot be read, which is reported when it is parsed."""
    try:
        return read_text(path).splitlines()
    except (OSError, UnicodeDecodeError):
        return []
