"""`dvc push` and `dvc pull` of raw data with an S3 store: a real server on this machine, real HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "isoclock-data"
KEYS = {"AWS_ACCESS_KEY_ID": "tested", "AWS_SECRET_ACCESS_KEY": "tested", "AWS_DEFAULT_REGION": "eu-central-1"}
FILES = {f"leftImg8bit/train/ulm/ulm_{k:06d}_000019_leftImg8bit.png": bytes([k]) * (1000 + k) for k in range(30)}
FILES["leftImg8bit_trainextra.zip"] = os.urandom(1 << 20)


@pytest.fixture
def s3() -> Iterator[str]:
    """Address of an S3 server with an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    client(address).create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield address
    server.stop()


def client(address: str):  # type: ignore[no-untyped-def]
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name=KEYS["AWS_DEFAULT_REGION"],
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, **KEYS, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.xdist_group("workflow")
def test_data_go_to_s3_and_come_back(s3: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    run(here, "git", "init", "--quiet")
    run(here, "dvc", "init", "--quiet")
    run(here, "dvc", "config", "core.analytics", "false")
    run(here, "dvc", "remote", "add", "--default", "store", f"s3://{BUCKET}/raw")
    run(here, "dvc", "remote", "modify", "store", "endpointurl", s3)
    for name, content in FILES.items():
        path = here / "data" / "cityscapes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run(here, "dvc", "add", "--quiet", "data")
    run(here, "dvc", "push", "--quiet")
    stored = client(s3).list_objects_v2(Bucket=BUCKET)["KeyCount"]
    assert stored == len(FILES) + 1, "each content, and the listing of the folder"
    assert "in sync" in run(here, "dvc", "status", "--cloud")

    run(here, "git", "add", "--all")
    run(here, "git", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=data")
    run(tmp_path, "git", "clone", "--quiet", str(here), str(there))
    assert not (there / "data").exists()
    run(there, "dvc", "pull", "--quiet")
    assert contents(there / "data" / "cityscapes") == FILES

    # One file more: only what is new is sent.
    (there / "data" / "cityscapes" / "more.png").write_bytes(b"more")
    run(there, "dvc", "add", "--quiet", "data")
    assert "2 files pushed" in run(there, "dvc", "push")
