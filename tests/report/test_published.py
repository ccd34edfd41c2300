import csv
import io
import json

import pytest
import torch
from results_tree import cell
from safetensors.torch import save_file

from isoclock.errors import ArtifactError
from isoclock.params.check import load_params
from isoclock.params.schema import Published
from isoclock.report import build_report
from isoclock.report.collect import collect
from isoclock.report.published import HERE, count_parameters, published_rows
from isoclock.report.summary import summarise
from tiny_study import TinyStudy


def published(**changes) -> Published:
    row = {
        "dataset": "streets", "method": "KD", "student": "PSPNet-R18", "undistilled": 70.0, "miou": 72.0,
        "teacher": "PSPNet-R101", "teacher_miou": 80.0, "recipe": "40k", "caveat": "another crop",
        "provenance": {"*": "published: some README"},
    }  # fmt: skip
    return Published.model_validate({key: value for key, value in (row | changes).items() if value is not None})


def rows(tree, *rows_given):
    study = collect(tree.root, tree.cells)
    return published_rows(study, summarise(study.rows), rows_given, "streets", "demo")


def test_parameters_are_those_that_are_trained(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    assert count_parameters(tmp_path / "weights.safetensors") == sum(p.numel() for p in network.parameters())
    assert count_parameters(tmp_path / "absent.safetensors") is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x04" + bytes(7) + b"[1]}", b"\x08" + bytes(7) + b'{"a": 7}'])
def test_a_damaged_weights_file_is_one_line(tmp_path, content):
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: its header is damaged; "):
        count_parameters(tmp_path / "weights.safetensors")


def test_ours_come_first_with_share_size_and_what_no_teacher_gives(tree):
    tree.teacher(miou=0.5)
    tree.scored(cell("none"), miou=0.40)
    tree.scored(cell("kd"), miou=0.45)
    save_file({"a.weight": torch.zeros(3, 4)}, tree.root / "student" / cell("kd").path / "weights.safetensors")
    none, kd, other = rows(tree, published())
    assert (none.method, kd.method, kd.recipe) == ("none", "kd", "compute-400")
    assert kd.undistilled == none.miou
    assert kd.teacher_share == pytest.approx(kd.miou / 0.5)
    assert (kd.parameters, none.parameters, kd.source) == (12, None, HERE)
    assert (other.miou, other.undistilled, other.teacher_share) == (0.72, 0.7, pytest.approx(0.9))
    assert (other.source, other.caveat) == ("some README", "another crop")


def test_rows_of_another_data_set_and_holes_stay_out(tree):
    tree.expect(cell("kd"))
    assert rows(tree, published(dataset="ade20k")) == []


def test_a_share_alone_is_a_row(tree):
    tree.expect(cell("kd"))
    (row,) = rows(tree, published(miou=None, undistilled=None, teacher_miou=None, teacher_share=0.92))
    assert row.cells()[2:7] == ["–", "–", "PSPNet-R101", "–", "92.0"]


def test_the_report_has_them_as_files_and_on_its_page(tree, tmp_path):
    tree.teacher()
    tree.scored(cell("kd"))
    page = build_report(tree.root, tree.cells, "g", tmp_path / "out", published=[published(caveat="a | b <i>")])
    assert "a | b &lt;i&gt;" in page.read_text()
    assert "a \\| b <i>" in (tmp_path / "out" / "published-rows.md").read_text()
    rows_read = list(csv.DictReader(io.StringIO((tmp_path / "out" / "published-rows.csv").read_text())))
    assert [(row["source"], row["method"]) for row in rows_read] == [(HERE, "kd"), ("some README", "KD")]
    assert float(rows_read[1]["teacher_share"]) == pytest.approx(0.9)


def test_published_rows_are_read_where_there_are_any(empty_study: TinyStudy):
    assert empty_study.params.published == {}
    path = empty_study.folder / "params" / "published.yaml"
    path.write_text(json.dumps({"row": published().model_dump() | {"miou": 0}}))
    with pytest.raises(Exception, match=r"published\.yaml: row\.miou: 0"):
        load_params(path.parent)
    path.write_text(json.dumps({"row": published().model_dump()}))
    assert load_params(path.parent).published["row"] == published()
