"""Networks of the package transformers keep the contract; what they start from, and folders of save_pretrained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from isoclock.budget.flops import forward_gflops
from isoclock.errors import ArtifactError, ParamsError, UserError
from isoclock.files import sha256_path
from isoclock.models import Segmenter, architecture, build_segmenter
from isoclock.models.checkpoints import load_checkpoint
from isoclock.models.class_scores import query_logits
from isoclock.models.hub import load_folder
from isoclock.models.testing import SegmenterContract
from isoclock.params.schema import Model
from isoclock.runner.importing import described

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")
MICRO: dict[str, dict[str, object]] = {
    "mask2former": {"swin": "micro", "queries": 7, "channels": 32, "encoder_layers": 1, "decoder_layers": 2},
    "segformer": {"size": "micro"},
    "upernet": {"swin": "micro", "channels": 16, "aux_channels": 8},
}
NAMES = ["road", "sidewalk", "building", "wall", "fence"]


class TestMask2Former(SegmenterContract):
    architecture = "mask2former"
    params = MICRO["mask2former"]

    def test_logits_are_those_of_the_queries_that_transformers_gives(self) -> None:
        network, images = self.subject.make().eval(), self.subject.images(1)
        with torch.no_grad():
            logits = network(images).logits
            theirs = network.network(images)
        expected = query_logits(theirs.class_queries_logits, theirs.masks_queries_logits)
        assert theirs.class_queries_logits.shape == (1, 7, 6), "queries, classes and no object"
        torch.testing.assert_close(logits, expected)

    def test_taps_are_the_maps_of_the_pixel_decoder(self) -> None:
        network, images = self.subject.make().eval(), self.subject.images(1)
        with torch.no_grad():
            output = network(images, {"pixel32", "pixel16", "pixel8", "head", "backbone"})
            theirs = network.network.model(images, output_hidden_states=True)
        for name, expected in zip(("pixel32", "pixel16", "pixel8"), theirs.pixel_decoder_hidden_states, strict=True):
            torch.testing.assert_close(output.features[name], expected)
        torch.testing.assert_close(output.features["head"], theirs.pixel_decoder_last_hidden_state)


class TestSegFormer(SegmenterContract):
    architecture = "segformer"
    params = MICRO["segformer"]

    def test_logits_are_those_of_transformers(self) -> None:
        network, images = self.subject.make().eval(), self.subject.images(1)
        with torch.no_grad():
            torch.testing.assert_close(network(images).logits, network.network(images).logits)


class TestUPerNet(SegmenterContract):
    architecture = "upernet"
    params = MICRO["upernet"]

    def test_logits_are_those_of_transformers_before_they_are_enlarged(self) -> None:
        network, images = self.subject.make().eval(), self.subject.images(1)
        with torch.no_grad():
            logits, theirs = network(images).logits, network.network(images).logits
        enlarged = torch.nn.functional.interpolate(logits, theirs.shape[-2:], mode="bilinear", align_corners=False)
        torch.testing.assert_close(enlarged, theirs)


def micro(name: str, seed: int = 0, **changes: object) -> Segmenter:
    torch.manual_seed(seed)
    return build_segmenter(name, len(NAMES), **MICRO[name] | changes).eval()


def saved(name: str, folder: Path, names: list[str]) -> Segmenter:
    """A network with these class names, saved as by its authors."""
    network = micro(name)
    if name == "mask2former":  # as transformers builds it, with the norm that is not used
        swin = network.network.model.pixel_level_module.encoder.swin
        swin.layernorm = torch.nn.LayerNorm(swin.num_features)
    network.network.config.id2label = dict(enumerate(names))
    network.network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("name", ["mask2former", "segformer"])
def test_a_saved_network_is_loaded_with_its_classes_in_our_order(name: str, tmp_path: Path) -> None:
    order = [3, 0, 4, 1, 2]
    source, images = saved(name, tmp_path, [NAMES[place] for place in order]), torch.randn(1, 3, 64, 96)
    target = micro(name, seed=1)
    names, unused = load_checkpoint(target, tmp_path, "transformers", name, NAMES)
    assert names == [NAMES[place] for place in order]
    assert all("swin.layernorm" in tensor for tensor in unused)
    with torch.no_grad():
        theirs, ours = source(images).logits, target(images).logits
    torch.testing.assert_close(ours[:, order], theirs)


@pytest.mark.parametrize("name", ["mask2former", "segformer"])
def test_a_saved_network_is_described_with_the_entry_that_imports_it(name: str, tmp_path: Path) -> None:
    saved(name, tmp_path, NAMES)
    model = Model(architecture=name, params=MICRO[name], weights="random", provenance={"*": "ours"})
    lines = described("teacher", model, tmp_path).splitlines()
    assert lines[0].startswith(f"{tmp_path}: format transformers, ")
    assert lines[2] == f"5 classes: {', '.join(NAMES)}"
    assert lines[6:9] == [
        f"      path: {tmp_path}",
        "      format: transformers",
        f'      sha256: "{sha256_path(tmp_path)}"',
    ]
    with pytest.raises(UserError, match=f"--format cirkd: not for {name}; choose from transformers, isoclock"):
        described("teacher", model, tmp_path, "cirkd")
    with pytest.raises(ArtifactError, match="transformers: a folder that save_pretrained wrote, not a file"):
        described("teacher", model, tmp_path / "model.safetensors", "transformers")


def test_a_folder_is_not_a_checkpoint_of_other_networks(tmp_path: Path) -> None:
    entry = Model(
        architecture="pspnet",
        params={"encoder": "tu-test_resnet", "head_channels": 8, "aux_channels": 4},
        weights="random",
        provenance={"*": "ours"},
    )
    with pytest.raises(ArtifactError, match="is a folder; a checkpoint of pspnet is a file, give its path"):
        described("teacher", entry, tmp_path)


def test_names_of_classes_that_a_folder_does_not_have_are_given(tmp_path: Path) -> None:
    saved("segformer", tmp_path, [f"LABEL_{number}" for number in range(5)])
    with pytest.raises(ArtifactError, match="has no class names; list them in the order of its outputs"):
        load_folder(micro("segformer").network, tmp_path, NAMES)
    assert load_folder(micro("segformer").network, tmp_path, NAMES, NAMES) == (NAMES, [])
    with pytest.raises(ArtifactError, match="has 5 classes, of which 4 have names"):
        load_folder(micro("segformer").network, tmp_path, NAMES, NAMES[:4])


@pytest.mark.parametrize("name", MICRO)
def test_classes_are_put_in_another_order(name: str) -> None:
    network, images, order = micro(name), torch.randn(1, 3, 64, 96), [3, 0, 4, 1, 2]
    with torch.no_grad():
        before = network(images).logits
        network.reorder_classes(order)
        torch.testing.assert_close(network(images).logits, before[:, order])


def test_a_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    saved("segformer", tmp_path, NAMES)
    with pytest.raises(ArtifactError, match="contains a segformer, not a upernet"):
        load_folder(micro("upernet").network, tmp_path, NAMES)
    with pytest.raises(ArtifactError, match="decoder_hidden_size is 16, in this model 256"):
        load_folder(micro("segformer", size="b0").network, tmp_path, NAMES)
    with pytest.raises(ArtifactError, match="class names differ"):
        load_folder(micro("segformer").network, tmp_path, [*NAMES[:-1], "sky"])
    with pytest.raises(ArtifactError, match="a trained segmentation network is imported".capitalize()):
        micro("segformer", weights=tmp_path)


def test_attention_heads_are_compared_although_shapes_agree(tmp_path: Path) -> None:
    saved("segformer", tmp_path, NAMES)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_attention_heads": [1, 1, 1, 1]}))
    with pytest.raises(ArtifactError, match=r"num_attention_heads is \[1, 1, 1, 1\], in this model \[1, 2, 5, 8\]"):
        load_folder(micro("segformer").network, tmp_path, NAMES)


@pytest.mark.parametrize(
    ("name", "part"), [("mask2former", "model.pixel_level_module.encoder"), ("segformer", "segformer")]
)
def test_a_network_starts_from_a_saved_encoder(name: str, part: str, tmp_path: Path) -> None:
    source = micro(name).network.get_submodule(part)
    source.save_pretrained(tmp_path)
    loaded = micro(name, seed=1, weights=tmp_path).network.get_submodule(part)
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.state_dict().items())
    entry = Model(architecture=name, params=MICRO[name], weights="random", provenance={"*": "ours"})
    lines = described("student", entry, tmp_path).splitlines()
    assert lines[0] == f"{tmp_path}: a pretrained encoder of student, SHA-256 {sha256_path(tmp_path)}"
    assert lines[-1] == f"    weights: {tmp_path}"


def test_imagenet_is_the_stated_repository_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build_segmenter("segformer", 5, size="b0").network.segformer
    source.save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()  # the architecture has the configuration
    asked = []

    def cached(repository: str, file: str, *_: object) -> str | None:
        asked.append(repository)
        return str(tmp_path / file) if (tmp_path / file).exists() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    network = build_segmenter("segformer", 5, weights="imagenet", size="b0")
    assert asked == ["nvidia/mit-b0"]
    assert network.weights_file == tmp_path / "model.safetensors", "its digest goes into the record"
    expected = source.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.network.segformer.state_dict().items())


@pytest.mark.parametrize("name", MICRO)
def test_every_size_but_the_small_ones_for_tests_has_a_repository(name: str) -> None:
    known = architecture(name)
    ((parameter, repositories),) = known.imagenet.items()
    assert [*repositories, "micro"] == sorted(known.params[parameter]["of"], key=[*repositories, "micro"].index)


def test_what_cannot_be_started_from() -> None:
    with pytest.raises(ParamsError, match="there are none for this size"):
        micro("segformer", weights="imagenet")
    with pytest.raises(ArtifactError, match=r"none: has no readable config\.json"):
        micro("segformer", weights="none")


@pytest.mark.parametrize("name", MICRO)
def test_operations_are_counted_without_memory(name: str) -> None:
    entry = Model(architecture=name, params=MICRO[name], weights="random", provenance={"*": "ours"})
    assert forward_gflops(entry, len(NAMES), (64, 96)) > 0


@pytest.mark.parametrize(
    ("name", "params", "millions"),
    [
        ("mask2former", {"swin": "large"}, 215.5),
        ("segformer", {"size": "b5"}, 84.6),
        ("segformer", {"size": "b0"}, 3.7),
        ("upernet", {"swin": "tiny"}, 59.9),
    ],
)
def test_sizes_are_those_of_the_literature(name: str, params: dict[str, object], millions: float) -> None:
    with torch.device("meta"):
        network = build_segmenter(name, 19, **params)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
