"""Finding passwords and tokens in params/, whose values are written into stamps, records, MLflow and reports."""

from __future__ import annotations

from pathlib import Path

from isoclock.params.yaml_loader import read_text
from isoclock.text import credentials


def holds_credential(text: str) -> bool:
    """Whether a text contains what looks like a password, a token or a key."""
    return next(credentials(text), None) is not None


def credential_problems(folder: Path) -> list[str]:
    """A problem for each line of params/ that looks like a credential. The line itself is never printed."""
    return [
        f"{path}: line {number}: looks like a password or a token, and values in params/ are written into results and MLflow; "
        "remove it, revoke it, and pass it in an environment variable"
        for path in sorted(folder.rglob("*.yaml"))
        for number in _lines(_text(path))
    ]


def _lines(text: str) -> list[int]:
    """Numbers of the lines that a credential starts in."""
    return sorted({text.count("\n", 0, start) + 1 for start, _ in credentials(text)})


def _text(path: Path) -> str:
    """The text of a file; empty if it cannot be read, which is reported when it is parsed."""
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError):
        return ""
