"""`isoclock fetch` gets the weights files of a grid, and `isoclock check --grid` refuses a grid that lacks one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from isoclock.cli.main import main
from isoclock.errors import ParamsError, UserError
from isoclock.params import weights_files as module
from isoclock.params.weights_files import weights_files
from tiny_study import TinyStudy

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RANDOM = 'weights: random\n    provenance: {"*": ours}\n  tiny'


@pytest.fixture
def study(empty_study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    monkeypatch.chdir(empty_study.folder)
    (empty_study.folder / "mirror.pth").write_bytes(CONTENT)
    return empty_study


def ask_for(study: TinyStudy, more: str = "") -> None:
    study.edit("models.yaml", RANDOM, RANDOM.replace("random", f"weights/small.pth{more}"))


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_random_weights_need_no_file(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights_files(study.params, "toy") == []
    assert main(["fetch", "toy"]) == 0
    assert capsys.readouterr().out == "grid toy: 0 weights files are here\n"


def test_a_file_is_fetched_once_and_check_asks_for_it(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    url = (study.folder / "mirror.pth").as_uri()
    ask_for(study, f"\n    url: {url}\n    sha256: {SHA256[:8]}")
    assert main(["check"]) == 0, "params are valid"
    assert main(["check", "--grid", "toy"]) == 2
    assert lines(capsys) == [
        "isoclock: params/models.yaml: models.small.weights: weights/small.pth: not here; `isoclock fetch toy`, where there is "
        "internet access, gets it"
    ]
    assert main(["fetch", "toy"]) == 0
    assert Path("weights/small.pth").read_bytes() == CONTENT
    assert main(["fetch", "toy"]) == main(["check", "--grid", "toy"]) == 0
    assert f"fetched from {url}\n" in (out := capsys.readouterr().out)
    assert "weights/small.pth: here already" in out


def test_another_digest_is_refused_and_nothing_is_kept(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    url = (study.folder / "mirror.pth").as_uri()
    ask_for(study, f"\n    url: {url}\n    sha256: '{'0' * 64}'")
    assert main(["fetch", "toy"]) == 2
    assert lines(capsys) == [
        f"isoclock: params/models.yaml: models.small.weights: {url}: has SHA-256 {SHA256}, which does not begin with "
        f"{'0' * 64}; correct url or sha256"
    ]
    assert list(Path("weights").iterdir()) == []
    Path("weights/small.pth").write_bytes(CONTENT)
    for command in (["fetch", "toy"], ["check", "--grid", "toy"]):
        assert main(command) == 2
        assert "weights/small.pth: its SHA-256 does not begin with 000" in capsys.readouterr().err


def test_what_cannot_be_fetched(study: TinyStudy, capsys: pytest.CaptureFixture[str]) -> None:
    ask_for(study)
    assert main(["fetch", "toy"]) == 2
    assert "small.pth: not here, and its entry has no url; copy it there" in capsys.readouterr().err
    assert main(["check", "--grid", "toy"]) == 2
    assert "not here; copy it there, or add its url for `isoclock fetch toy`" in capsys.readouterr().err
    study.edit("models.yaml", "small.pth\n", f"small.pth\n    url: {(study.folder / 'none.pth').as_uri()}\n")
    assert main(["fetch", "toy"]) == 2
    (line,) = lines(capsys)
    assert "none.pth: cannot be fetched (" in line
    assert line.endswith("copy the file to weights/small.pth")


def test_weights_of_the_hub(study: TinyStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study.edit("models.yaml", RANDOM, RANDOM.replace("random", "test_resnet.r160_in1k"))
    (file,) = weights_files(study.params, "toy")
    assert (file.hub, file.path) == ("test_resnet.r160_in1k", None)
    monkeypatch.setattr(module, "cached_file", lambda _name: None)
    assert "models.small.weights: test_resnet.r160_in1k: not here; `isoclock fetch toy`" in str(file.problem("toy"))
    monkeypatch.setattr(module, "cached_file", lambda _name: study.folder / "mirror.pth")
    assert file.problem("toy") is None
    assert file.fetch() == "here already"


def test_an_imported_network_needs_its_checkpoint_only(study: TinyStudy) -> None:
    checkpoint = {"path": "mirror.pth", "format": "isoclock", "sha256": SHA256, "source": "elsewhere", "licence": "MIT"}
    study.edit("models.yaml", RANDOM, RANDOM.replace("weights: random", f"checkpoint: {json.dumps(checkpoint)}"))
    (file,) = weights_files(study.params, "toy")
    assert file.path == Path("mirror.pth")
    assert file.problem("toy") is None


@pytest.mark.parametrize(
    ("entry", "repository"),
    [
        ("segformer\n    params: {size: b5}", "nvidia/mit-b5"),
        ("mask2former\n    params: {swin: large}", "microsoft/swin-large-patch4-window12-384-in22k"),
        ("smp\n    params: {decoder: fpn, encoder: mobilenet_v2, encoder_stride: 32}", "smp-hub/mobilenet_v2.imagenet"),
        ("smp\n    params: {decoder: fpn, encoder: tu-convnext_tiny, encoder_stride: 32}", "convnext_tiny"),
    ],
)
def test_imagenet_weights_of_other_packages_are_looked_for(
    study: TinyStudy, entry: str, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study.folder / "params" / "models.yaml"
    text = path.read_text()
    start, end = text.index("pspnet"), text.index("weights: random")
    path.write_text(f"{text[:start]}{entry}\n    weights: imagenet{text[end + 15 :]}")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    (file,) = weights_files(study.params, "toy")
    assert file.problem("toy") == (
        f"{study.folder}/params/models.yaml: models.small.weights: {repository}: not here; `isoclock fetch toy`, where there "
        "is internet access, gets it"
    )
    monkeypatch.setattr("isoclock.models.hub_weights._reachable", lambda _address: False)
    with pytest.raises(UserError, match=f"weights: {repository}.* is not in the cache"):
        file.fetch()
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(study.folder / "mirror.pth"))
    assert file.problem("toy") is None


def test_a_size_without_imagenet_weights_is_refused(study: TinyStudy) -> None:
    study.edit("models.yaml", RANDOM, RANDOM.replace("random", "imagenet"))
    path = study.folder / "params" / "models.yaml"
    text = path.read_text()
    start, end = text.index("pspnet"), text.index("    weights: imagenet")
    path.write_text(f"{text[:start]}segformer\n    params: {{size: micro}}\n{text[end:]}")
    with pytest.raises(ParamsError, match=r"small\.weights: imagenet: segformer has none with these params; set"):
        _ = study.params
