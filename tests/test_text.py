"""What looks like a credential is found and cut out; what forges or hides text is escaped."""

from __future__ import annotations

import io
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.errors import UserError
from isoclock.params.credentials import holds_credential
from isoclock.text import printable, redacted, safe
from tiny_study import TinyStudy

AWS = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
# (text, what remains of it)
CREDENTIALS = [
    ("https://user:pw12@host/x", "https://***@host/x"),
    ("ghp_" + "a1" * 12, "***"),
    ("AKIA" + "ABCDEFGH12345678", "***"),
    ("password=hunter2hunter2", "password=***"),
    ("https://host/w.pth?token=0123456789abcdef&x=1", "https://host/w.pth?token=***&x=1"),
    ('api_key: "0123456789"', 'api_key: "***"'),
    (f"aws_secret_access_key: {AWS}", "aws_secret_access_key: ***"),
    (f"weights: {AWS}", "weights: ***"),
    ("private_key: MIIEvQIBADANBg", "private_key: ***"),
    ("a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb", "a\n***\nb"),
    ("Authorization: Bearer abcdef0123456789abcd", "Authorization: Bearer ***"),
    ("curl -H 'authorization: basic YW5uOnNlY3JldA=='", "curl -H 'authorization: basic ***'"),
    ("https://x.blob.core.windows.net/c/b?sv=2020&sig=abc%2Bdef0123", "https://x.blob.core.windows.net/c/b?sv=2020&sig=***"),
    ("AccountName=a;AccountKey=abcdefgh==;x", "AccountName=a;AccountKey=***"),
    ("postgresql://ann:p@ss/w@db/x", "postgresql://***@db/x"),
    ("mysql://u:a/b@h/x and http://host/", "mysql://***@h/x and http://host/"),
    ("http://me:12345@host/", "http://***@host/"),
    ("http://a/b://c:d@e", "http://a/b://***@e"),
    ("https://0123456789abcdef01234567@host/x", "https://***@host/x"),
    ("https://h/x?password=ab", "https://h/x?password=***"),
    ("https://h/x?X-Amz-Signature=abcdef01&y", "https://h/x?X-Amz-Signature=***&y"),
    ("password:\n  hunter2hunter2", "password:\n  ***"),
    ('password: "correct horse"', 'password: "***"'),
    ("client_secret='abcd efgh'", "client_secret='***'"),
    ('{"token": "abcdefghi"}', '{"token": "***"}'),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "***"),
]  # fmt: skip
OTHER_TEXT = [
    "weights: https://download.pytorch.org/models/resnet18-5c106cde.pth", "tap: backbone  # the token maps of a ViT",
    "tokens: 1024", 'provenance: "published: winycg/CIRKD@2d8ad0f"', "arXiv 2604.25530: table 3", "sk-learn",
    "see https://github.com/a/b@v1:docs", "https://host:8080/a@b", "git@github.com:a/b", "token: null",
    "password: ${PASSWORD}", "0123456789abcdef0123456789abcdef01234567", "sha256: " + "0123456789abcdef" * 4,
    "data/Cityscapes/leftImg8bit/train/aachen/x.png", "token: {a: 1}", "password: ***",
    "params/models.yaml: line 3: looks like a password or a token, and values in params/ are written into results",
]  # fmt: skip
HARD = ["://a:", "://a@", "a", "password ", "password:\n ", "sk-", "eyJ-", "-----BEGIN PRIVATE KEY-----", "x_", "?x-x-"]


@pytest.mark.parametrize(("text", "remains"), CREDENTIALS)
def test_credentials_are_found_and_cut_out(text: str, remains: str) -> None:
    assert holds_credential(text)
    assert redacted(text) == remains
    assert redacted(remains) == remains


@pytest.mark.parametrize("text", OTHER_TEXT)
def test_other_text_stays(text: str) -> None:
    assert not holds_credential(text)
    assert redacted(text) == text


@pytest.mark.parametrize("part", HARD)
def test_the_search_takes_linear_time(part: str) -> None:
    text = part * (1_000_000 // len(part))
    began = time.process_time()
    holds_credential(text)
    redacted(text)
    assert time.process_time() - began < 5


def test_control_characters_are_escaped() -> None:
    assert (
        printable("a\x1b[2Jb\r\x85\u202e\udcff\tc\n ü \U0001f600")
        == "a\\x1b[2Jb\\r\\x85\\u202e\\udcff\tc\n ü \U0001f600"
    )
    assert safe("\x1b password=hunter2") == "\\x1b password=***"


def test_a_problem_is_one_printable_line() -> None:
    error = UserError(["a\nisoclock: forged\r\x1b[2K", "b\udcff"])
    assert error.problems == ["a\\nisoclock: forged\\r\\x1b[2K", "b\\udcff"]
    assert str(error) == "\n".join(error.problems)


@pytest.mark.parametrize("log", [[], ["--log", "runs/logs/x.log"]])
@pytest.mark.parametrize("encoding", ["iso-8859-1", "ascii", "utf-8"])
def test_what_a_terminal_cannot_print_is_escaped(empty_study: TinyStudy, encoding: str, log: list[str]) -> None:
    empty_study.edit("methods.yaml", "method: kd\n", 'method: "k→d"\n')
    command = [sys.executable, "-m", "isoclock", *log, "check", "--grid", b"t\xff\xe2\x86\x92"]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    for expected in (b"methods.yaml", b"unknown grid"):
        ended = subprocess.run(command, cwd=empty_study.folder, capture_output=True, env=environment, check=False)
        assert ended.returncode == 2, ended.stderr
        (line,) = ended.stderr.splitlines()
        assert expected in line
        empty_study.edit("methods.yaml", 'method: "k→d"\n', "method: kd\n") if expected == b"methods.yaml" else None
    if log:
        attempts = (empty_study.folder / "runs/logs/x.attempts.log").read_text(encoding="utf-8")
        assert "check --grid t\\udcff→" in attempts
        assert "unknown grid" in attempts


def test_logs_and_warnings_are_redacted(
    empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from isoclock.cli import check

    def run(_: object) -> int:
        print("trying https://ann:s@cr/et@host")
        sys.stderr.write(warnings.formatwarning("token=0123456789 \x1b[2J", UserWarning, "", 1))
        raise UserError("postgresql://ann:s@cr/et@host: no answer")

    monkeypatch.setattr(check, "run", run)
    monkeypatch.chdir(empty_study.folder)
    assert main(["--log", "runs/logs/x.log", "check", "--grid", "password=hunter2"]) == 2
    logs = [path.read_text() for path in Path("runs/logs").iterdir()]
    assert len(logs) == 2
    captured = capsys.readouterr()
    for text in (*logs, captured.out + captured.err):
        assert "***" in text
        assert "cr/et" not in text
        assert "hunter2" not in text
        assert "0123456789" not in text
        assert "\x1b" not in text


def test_a_traceback_is_redacted(tmp_path: Path) -> None:
    program = "import isoclock.__main__ as m, isoclock.cli.main as c\nc._parser = lambda: 1 / len('')\nm.main()"
    ended = subprocess.run(
        [sys.executable, "-c", program.replace("1 / len('')", "open('/nowhere?password=ab\\x1b')")],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" in ended.stderr
    assert "password=***" in ended.stderr
    assert "\x1b" not in ended.stderr


def test_a_stream_that_is_no_text_file_is_left_alone(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty_study.folder)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["check"]) == 0
