"""Mistakes between entries of params/: names that do not exist, values that do not fit together."""

from __future__ import annotations

import pytest

from isoclock.errors import ParamsError
from tiny_study import TinyStudy

KD = "method: kd\n  implementation: reference\n  params: {temperature: 1.0}\n  weights: {kd: 1.0}\n"
MISTAKES = {
    "method of a grid": ("grids/toy.yaml", "cwd, mgd]", "cwd, mdg]", ["blocks[0].methods", "'mdg'", "kd"]),
    "budget of a grid": (
        "grids/toy.yaml",
        "compute-6]",
        "compute-7]",
        ["blocks[0].budgets", "'compute-7'", "compute-6"],
    ),
    "profile set of a pair": (
        "models.yaml",
        "profile: demo",
        "profile: dome",
        ["pairs.tiny.profile", "'dome'", "demo"],
    ),
    "pair of a grid": ("grids/toy.yaml", "pairs: [tiny]", "pairs: [huge]", ["blocks[0].pairs", "'huge'", "tiny"]),
    "data set of a grid": (
        "grids/toy.yaml",
        "datasets: [streets]",
        "datasets: [ade20k]",
        ["blocks[0].datasets", "'ade20k'", "streets"],
    ),
    "model of a pair": (
        "models.yaml",
        "    teacher: small\n",
        "    teacher: large\n",
        ["pairs.tiny.teacher", "'large'", "small"],
    ),
    "architecture": (
        "models.yaml",
        "  tiny:\n    architecture: pspnet\n",
        "  tiny:\n    architecture: pspnett\n",
        ["models.tiny.architecture", "'pspnett'", "pspnet"],
    ),
    "reader": ("datasets.yaml", "reader: cityscapes", "reader: cityscape", ["streets.reader", "'cityscape'", "camvid"]),
    "data set of a recipe": ("training.yaml", "streets:\n", "avenues:\n", ["avenues", "streets"]),
    "yardstick": ("budgets.yaml", "yardstick: kd", "yardstick: dk", ["budgets.compute-6.yardstick", "'dk'", "kd"]),
    "method's file": ("methods.yaml", "method: kd\n", "method: dk\n", ["kd.method", "'dk'"]),
    "parameter that is none": (
        "methods.yaml",
        "{temperature: 1.0}",
        "{temprature: 1.0}",
        ["kd.params.temprature", "1.0", "temperature"],
    ),
    "parameter out of range": (
        "methods.yaml",
        "mask_ratio: 0.75",
        "mask_ratio: 1.0",
        ["mgd.params.mask_ratio", "1.0", "below 1"],
    ),
    "parameter of another type": (
        "methods.yaml",
        "{temperature: 1.0}",
        "{temperature: warm}",
        ["kd.params.temperature", "'warm'"],
    ),
    "choice that is none": (
        "methods.yaml",
        "{tap: logit, ",
        "{tap: encoder, ",
        ["cwd.params.tap", "'encoder'", "logit"],
    ),
    "term that is none": ("methods.yaml", "{kd: 1.0}", "{kd: 1.0, dkd: 1.0}", ["kd.weights", "'dkd'", "kd"]),
    "term without a weight": (
        "methods.yaml",
        "{mgd: 1.0e-4, cwd_logit: 0.0}",
        "{mgd: 1.0e-4}",
        ["mgd.weights.cwd_logit", "missing", "or 0"],
    ),
    "weights for a data set that is none": (
        "methods.yaml",
        "weights: {kd: 1.0}\n",
        "weights: {kd: 1.0}\n  weights_for: {avenues: {kd: 2.0}}\n",
        ["kd.weights_for", "'avenues'", "streets"],
    ),
    "an extra that is none": (
        "methods.yaml",
        "weights: {fitnet: 1.0}\n",
        "weights: {fitnet: 1.0}\n  extras: [kdd]\n",
        ["fitnet.extras", "'kdd'", "cwd, fitnet, kd"],
    ),
    "an extra whose term is there already": (
        "methods.yaml",
        "weights: {fitnet: 1.0}\n",
        "weights: {fitnet: 1.0}\n  extras: [kd, kd]\n",
        ["fitnet.extras", "'kd'", "term kd", "keep one"],
    ),
    "a name with an ending that is taken": ("methods.yaml", "\nkd:\n", "\nkd.tuned:\n", ["kd.tuned", "taken"]),
    "an implementation that a method has not": (
        "grids/toy.yaml",
        "[none, kd,",
        "[none, kd.tuned, kd,",
        ["blocks[0].methods: 'kd.tuned': method kd has only `reference` (as published; nothing to gain); write 'kd'"],
    ),
    "images without labels that are not there": (
        "training.yaml",
        "  student:\n",
        "  student:\n    unlabelled_per_batch: 1\n",
        ["streets.student.unlabelled_per_batch", "datasets.yaml", "`labelled_images`"],
    ),
    "a name that is taken": ("methods.yaml", "\nkd:\n", "\naccepted:\n", ["accepted", "taken"]),
}


def problems(study: TinyStudy) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        _ = study.params
    return caught.value.problems


def test_the_tiny_study_is_valid(empty_study: TinyStudy) -> None:
    assert list(empty_study.params.grids) == ["toy"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_with_file_key_and_value(empty_study: TinyStudy, mistake: str) -> None:
    file, old, new, expected = MISTAKES[mistake]
    empty_study.edit(file, old, new)
    found = problems(empty_study)
    assert all("\n" not in problem for problem in found)
    matching = [problem for problem in found if all(part in problem for part in expected)]
    assert matching, found
    assert str(empty_study.folder / "params" / file) in matching[0]
    assert len(found) == len(set(found)), "reported twice"


def test_a_crop_that_does_not_fit_into_the_images(empty_study: TinyStudy) -> None:
    empty_study.edit("datasets.yaml", "  train: train\n", "  size: [48, 60]\n  train: train\n")
    (found,) = problems(empty_study)
    assert "training.yaml: streets: crop: [32, 64] is larger than the images of streets, [48, 60]" in found


def test_a_crop_as_large_as_the_images_fits(empty_study: TinyStudy) -> None:
    empty_study.edit("datasets.yaml", "  train: train\n", "  size: [32, 64]\n  train: train\n")
    assert empty_study.params.dataset("streets").size == (32, 64)


def test_a_teacher_learns_from_labels(empty_study: TinyStudy) -> None:
    empty_study.edit("datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 2\n")
    empty_study.edit("training.yaml", "  teacher:\n", "  teacher:\n    unlabelled_per_batch: 1\n")
    (found,) = problems(empty_study)
    assert "training.yaml: streets.teacher.unlabelled_per_batch: a teacher learns from labels" in found


def test_a_batch_without_a_label_teaches_nothing(empty_study: TinyStudy) -> None:
    empty_study.edit("datasets.yaml", "  val: val\n", "  val: val\n  labelled_images: 2\n")
    empty_study.edit("training.yaml", "  student:\n", "  student:\n    unlabelled_per_batch: 2\n")
    (found,) = problems(empty_study)
    assert "unlabelled_per_batch is 2 of a batch of 2; leave one labelled image" in found


def test_a_grid_of_a_data_set_that_nobody_can_train_on(empty_study: TinyStudy) -> None:
    datasets = empty_study.folder / "params" / "datasets.yaml"
    datasets.write_text(datasets.read_text() + datasets.read_text().replace("streets:", "avenues:"))
    empty_study.edit("grids/toy.yaml", "[streets]", "[streets, avenues]")
    (found,) = problems(empty_study)
    assert "training.yaml: avenues: missing, and grid toy needs it" in found


def test_a_data_set_may_have_the_teachers_of_another(shared_study: TinyStudy) -> None:
    params = shared_study.params
    assert [params.teacher_dataset(name) for name in ("streets", "avenues")] == ["streets", "streets"]
    assert ("avenues", "teacher") not in params.recipes


SHARED = "teacher_from: streets"


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("teacher_from: avenues", "'avenues' is this data set; remove it"),
        ("teacher_from: allées", "avenues.teacher_from: 'allées': String should match pattern"),
        ("teacher_from: alleys", "unknown data set 'alleys'; choose from streets"),
        (
            f"{SHARED}\n  size: [64, 128]",
            "size of streets is None, and that of avenues is (64, 128); must be equal",
        ),
        (f"{SHARED}\n  storage: jpeg", "storage of streets is 'raw', and that of avenues is 'jpeg'; must be equal"),
    ],
)
def test_whose_teachers_cannot_be_had(shared_study: TinyStudy, new: str, expected: str) -> None:
    shared_study.edit("datasets.yaml", SHARED, new)
    (found,) = problems(shared_study)
    assert "datasets.yaml: avenues.teacher_from: " in found
    assert expected in found


def test_a_teacher_of_other_classes_on_other_images(shared_study: TinyStudy) -> None:
    shared_study.edit(
        "datasets.yaml",
        "avenues:\n  reader: cityscapes\n  root: data/streets\n  train: train\n  val: val\n",
        "avenues:\n  reader: camvid\n  root: data/camvid\n  train: train\n  val: test\n",
    )
    found = problems(shared_study)
    assert [problem.split(": ")[2].split(" of ")[0] for problem in found] == ["reader", "root", "val"]


def test_teachers_are_passed_on_once_only(shared_study: TinyStudy) -> None:
    shared_study.edit("datasets.yaml", "streets:\n", "lanes:\n  teacher_from: avenues\n  reader: cityscapes\n"
                      "  root: data/streets\n  train: train\n  val: val\n  provenance: {'*': ours}\nstreets:\n")  # fmt: skip
    (found,) = problems(shared_study)
    assert "lanes.teacher_from: 'avenues' has a teacher_from of its own; use streets here" in found


def test_whose_teachers_there_are_is_said_once(shared_study: TinyStudy) -> None:
    path = shared_study.folder / "params" / "training.yaml"
    path.write_text(path.read_text() + '  teacher:\n    lr: 0.02\n    iterations: 6\n    provenance: {"*": ours}\n')
    (found,) = problems(shared_study)
    assert "training.yaml: avenues.teacher: the teachers of avenues are those of streets (teacher_from in" in found


def test_a_data_set_without_a_teacher(shared_study: TinyStudy) -> None:
    shared_study.edit("datasets.yaml", f"  {SHARED}\n", "")
    (found,) = problems(shared_study)
    assert "training.yaml: avenues.teacher: missing; add a recipe for its teachers" in found


def test_a_grid_needs_the_recipes_of_where_its_teachers_are_from(shared_study: TinyStudy) -> None:
    path = shared_study.folder / "params" / "training.yaml"
    path.write_text("avenues:" + path.read_text().partition("avenues:")[2])
    found = problems(shared_study)
    assert [problem.partition("training.yaml: ")[2] for problem in found] == [
        f"streets: missing, and grid {name} needs it" for name in ("avenues", "both", "toy")
    ]


def test_several_problems_are_reported_together(empty_study: TinyStudy) -> None:
    for mistake in ("yardstick", "reader", "choice that is none", "model of a pair", "budget of a grid"):
        file, old, new, _ = MISTAKES[mistake]
        empty_study.edit(file, old, new)
    assert len(problems(empty_study)) == 5


def test_the_other_implementation_of_an_entry_needs_no_entry(empty_study: TinyStudy) -> None:
    empty_study.edit("grids/toy.yaml", "[none, kd,", "[none, mgd.tuned, kd,")
    params = empty_study.params
    assert params.method("mgd.tuned").implementation == "tuned"
    assert params.method("mgd").implementation == "reference"
    with pytest.raises(ParamsError, match=r"methods\.yaml: 'kd\.tuned': method kd has only `reference`"):
        params.method("kd.tuned")


def test_an_extra_is_tuned_too_if_its_method_has_that(empty_study: TinyStudy) -> None:
    weights = "weights: {mgd: 1.0e-4, cwd_logit: 0.0}\n"
    entry = "method: rkd\n  implementation: reference\n  params: {}\n  weights: {distance: 1.0, angle: 0.0}\n"
    empty_study.edit("methods.yaml", weights, f"{weights}  extras: [kd, relations]\n")
    empty_study.edit("methods.yaml", "\nmgd:\n", f"\nrelations:\n  {entry}  provenance: {{'*': ours}}\nmgd:\n")
    parts = {name: empty_study.params.method_parts(name, "streets") for name in ("mgd", "mgd.tuned")}
    assert [part.implementation for part in parts["mgd"]] == ["reference", "reference", "reference"]
    assert [part.implementation for part in parts["mgd.tuned"]] == ["tuned", "reference", "tuned"]


def test_extras_of_extras_are_refused(empty_study: TinyStudy) -> None:
    empty_study.edit("methods.yaml", "weights: {fitnet: 1.0}\n", "weights: {fitnet: 1.0}\n  extras: [kd]\n")
    empty_study.edit("methods.yaml", "weights: {cwd: 3.0}\n", "weights: {cwd: 3.0}\n  extras: [fitnet]\n")
    (found,) = problems(empty_study)
    assert "methods.yaml: cwd.extras: 'fitnet' has extras of its own; list kd here instead" in found


def test_an_implementation_that_is_not_there(empty_study: TinyStudy) -> None:
    empty_study.edit("methods.yaml", KD, KD.replace("reference", "fastest"))
    (found,) = problems(empty_study)
    assert "methods.yaml: kd.implementation: 'fastest'" in found


def test_a_data_set_may_choose_a_section_of_training_yaml(empty_study: TinyStudy) -> None:
    path = empty_study.folder / "params" / "training.yaml"
    path.write_text(
        path.read_text() + path.read_text().replace("streets:", "streets.slow:").replace("lr: 0.02", "lr: 0.01")
    )
    assert empty_study.params.recipe("streets", "student").lr == 0.02, "a section that nobody chose does no harm"
    empty_study.edit("datasets.yaml", "  val: val\n", "  val: val\n  recipe: streets.slow\n")
    assert [empty_study.params.recipe("streets", role).lr for role in ("student", "teacher")] == [0.01, 0.01]
    empty_study.edit("datasets.yaml", "streets.slow", "streets.fast")
    (found,) = (line for line in problems(empty_study) if "recipe" in line and "datasets" in line)
    assert found.endswith(
        "datasets.yaml: streets.recipe: unknown recipe 'streets.fast'; choose from streets, streets.slow"
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("scale_step: 0.3", "scale_step 0.3 does not lead from 0.5 to 1.5"),
        ("long_side_at_most: 9", "long_side_at_most needs short_side; give short_side, or remove it"),
        ("cat_max_ratio: 0.0", "streets.shared.cat_max_ratio: "),
        ("padding: start", "streets.shared.padding: "),
        ("cross_entropy_over: most", "streets.shared.cross_entropy_over: "),
    ],
)
def test_how_crops_are_drawn_is_checked(empty_study: TinyStudy, keys: str, expected: str) -> None:
    empty_study.edit("training.yaml", "    flip: 0.5\n", f"    flip: 0.5\n    {keys}\n")
    assert any(expected in problem for problem in problems(empty_study))


@pytest.mark.parametrize(("where", "is_there"), [("{streets: {tiny: 0.5}}", True), ("{streets: {large: 0.5}}", False)])
def test_a_gate_is_of_a_pair_of_the_grid(empty_study: TinyStudy, where: str, is_there: bool) -> None:
    empty_study.edit("grids/toy.yaml", "study: false\n", f"study: false\nteacher_miou_at_least: {where}\n")
    if is_there:
        assert empty_study.params.grid("toy").teacher_miou_at_least == {"streets": {"tiny": 0.5}}
        return
    (found,) = problems(empty_study)
    assert "grids/toy.yaml: teacher_miou_at_least.streets.large: no block has this pair on this data set" in found
