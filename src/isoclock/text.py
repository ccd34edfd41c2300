"""Text that is printed, logged or recorded: credentials are cut out, and control characters are escaped.

`isoclock.params.credentials` refuses params/ with the same patterns. Each of them has a group `value`, which is cut out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

CUT = "***"

_START, _END = r"(?<![\w/+=.-])", r"(?![\w/+=-])"
# Tokens of well-known services, by their prefix.
_PREFIXES = (
    r"hf_\w{20,}|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}|sk-[\w-]{20,}"
    r"|xox[abeps]-[\w-]{10,}|AIza[\w-]{30,}|ya29\.[\w-]{20,}|npm_\w{30,}|pypi-[\w-]{20,}|dckr_pat_[\w-]{20,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
)
# What a key is called whose value is a secret.
_KEYS = (
    r"(?:token|password|passwd|passphrase|pwd|secret(?:[_-]\w{1,30}){0,3}|api[_-]?key|private[_-]?key|account[_-]?key"
    r"|access[_-]?key|shared[_-]?access[_-]?signature|authorization|credentials?|x-amz-signature)"
)
# A value on the line of its key, or on the next line of a YAML file; a plain word such as `null` is none.
_AFTER_KEY = r"[\"']?[ \t]*[:=][ \t]*(?:[|>][+-]?)?(?:\n[ \t]+(?:-[ \t]+)?(?![\w\"'.-]{1,60}:\s))?"
_NO_SECRET = r"(?!(?:null|none|true|false|required|optional|bearer|basic)\b|\*\*\*|\$\{|[{\[<])"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\w-])(?P<value>{_PREFIXES})",
        r"(?i)[?&;](?:password|passwd|pwd|pass|token|secret|key|sig|signature|(?:\w|-){1,20}[_-](?:token|key|secret|signature))"
        r"=(?P<value>[^&\s\"'#;]+)",
        r"(?i)\bsig=(?P<value>[^&\s\"'#;]{8,})",
        r"(?i)\bbearer[ \t]+(?P<value>[\w.~+/=-]{12,})",
        r"(?i)\bauthorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:basic|token)[ \t]+(?P<value>[\w.~+/=-]{6,})",
        rf"(?i)\b\w{{0,60}}{_KEYS}{_AFTER_KEY}(?:\"(?!\")(?P<double>)|'(?P<single>))?{_NO_SECRET}"
        r"(?P<value>(?(double)[^\"\n]{4,}|(?(single)[^'\n]{4,}|[^\s\"',}&]{6,})))",
        r"(?P<value>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?:[^-]{0,10000}-----END [A-Z ]{0,40}PRIVATE KEY-----)?)",
    )
)
_SECRET_KEY = re.compile(rf"{_START}(?P<value>[A-Za-z0-9/+]{{40}}){_END}")
_ADDRESS = re.compile(r"[^\s\"'<>]*")
_PORT = re.compile(r"\d{1,5}[/?#]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def credentials(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of everything that looks like a password, a token or a key. Some may overlap."""
    for pattern in _PATTERNS:
        for found in pattern.finditer(text):
            yield found.span("value")
    yield from _in_addresses(text)
    for found in _SECRET_KEY.finditer(text):
        if _is_random(found["value"]):
            yield found.span("value")


def redacted(text: str) -> str:
    """`text` with `***` in place of each credential."""
    parts, end = [], 0
    for start, stop in sorted(credentials(text)):
        if stop <= end:
            continue
        if start >= end:
            parts += [text[end:start], CUT]
        end = stop
    return "".join([*parts, text[end:]])


def printable(text: str) -> str:
    """`text` with control characters, line separators and bytes that are not UTF-8 escaped; line feeds and tabs stay."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def safe(text: str) -> str:
    """`text` as messages and logs have it: redacted and printable."""
    return printable(redacted(text))


def _in_addresses(text: str) -> Iterator[tuple[int, int]]:
    """`user:password` or a long token before the host of each address. A password may have `@` and `/` in it."""
    at = text.find("://")
    while at >= 0:
        start, at = at + 3, text.find("://", at + 3)
        found = _ADDRESS.match(text, start, len(text) if at < 0 else at)
        stop = text.rfind("@", start, found.end() if found else start)
        user, colon, password = text[start : max(start, stop)].partition(":")
        is_password = bool(colon and password) and not set("/?#") & set(user) and not _PORT.match(password)
        if is_password or re.fullmatch(r"[\w-]{20,200}", user):
            yield start, stop


def _is_random(text: str) -> bool:
    """Whether 40 characters look like an AWS secret key: not like a path, a name or a digest in hexadecimal."""
    kinds = ["u" if c.isupper() else "l" if c.islower() else "d" if c.isdigit() else "s" for c in text]
    changes = sum(one != other for one, other in pairwise(kinds))
    return min(kinds.count("u"), kinds.count("l")) >= 5 and "d" in kinds and changes >= 14
