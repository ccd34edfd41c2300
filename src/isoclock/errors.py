"""Errors for the user: one line each, with the place, the problem and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence

EXIT_USER_ERROR = 2
"""Exit status for every problem that the user can fix."""

EXIT_INTERRUPTED = 75
"""Exit status of a training run that was asked to stop and has saved its state; it can be resumed (EX_TEMPFAIL)."""


# Control characters, line and paragraph separators, marks that change the direction of text, bytes that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(Exception):
    """A problem that the user can fix. Holds one or several problems, each one line.

    Control characters are escaped: names of files and text in them end up in messages, and must not forge lines.

    The CLI prints every problem to stderr, without a traceback, and exits with status 2.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [one_line(text) for text in ([problems] if isinstance(problems, str) else problems)]
        if not self.problems:
            raise ValueError("a UserError needs at least one problem")
        super().__init__("\n".join(self.problems))


def one_line(text: str) -> str:
    """`text` with control characters and bytes that are not UTF-8 escaped, line feeds too: `a\\nb`."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class ParamsError(UserError):
    """A value in params/ is wrong; each problem names file, key and value. Of very many problems, the first are kept."""

    _AT_MOST = 200

    def __init__(self, problems: str | Sequence[str]) -> None:
        super().__init__(problems)
        if (more := len(self.problems) - self._AT_MOST) > 0:
            super().__init__([*self.problems[: self._AT_MOST], f"{more} more problems"])


class DataError(UserError):
    """The raw or the prepared data are wrong; each problem names a path."""


class ArtifactError(UserError):
    """A file under results/ or runs/ is missing, unreadable, or made from other inputs than expected."""


def missing_package(error: ModuleNotFoundError) -> UserError:
    """What to install where a package of the extra `pipeline` is missing. Raises `error` for a module of isoclock itself."""
    package = (error.name or "isoclock").partition(".")[0]
    if package == "isoclock":
        raise error
    return UserError(f'module {package!r} is not installed; run: pip install "isoclock[pipeline]"')
