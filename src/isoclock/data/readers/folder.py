"""Any data set of images and PNG labels, without Python: patterns, classes and splits are those of its entry.

`isoclock.params.schema.folder` has the keys, docs/own-dataset.md an example.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from isoclock.data.readers.listing import folded
from isoclock.data.readers.reader import Reader, Sample, index_colour, match
from isoclock.labels import IGNORE

if TYPE_CHECKING:
    from isoclock.data.readers.rawtree import RawFile, RawTree
    from isoclock.params.schema import Dataset, Folder

Files = dict[str, "RawFile"]
"""Files by name: the texts that stand for the `*` of the pattern, joined by a slash."""

_IMAGES, _LABELS = (".png", ".jpg", ".jpeg"), (".png",)


def of_entry(entry: Dataset) -> Reader:
    """The reader of an entry whose reader is `folder`."""
    folder = entry.folder
    assert folder is not None, "the schema requires it"
    stored = list(folder.stored())
    colours = tuple(_rgb(one) for one, _ in stored if isinstance(one, str))
    values = [(number if colours else one, train) for number, (one, train) in enumerate(stored)]
    return Reader(
        name="folder",
        classes=tuple(name for name, _ in folder.classes),
        palette=tuple(_palette(folder)),
        raw_to_train={int(value): IGNORE if train is None else train for value, train in values},
        scan=partial(_scan, entry, folder),
        label_colours=colours,
    )


def _palette(folder: Folder) -> Iterable[tuple[int, int, int]]:
    for number, (name, stored) in enumerate(folder.classes, 1):
        colour = (folder.colours or {}).get(name, stored[0])
        yield _rgb(colour) if isinstance(colour, str) else index_colour(number)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def _scan(entry: Dataset, folder: Folder, root: RawTree, split: str) -> tuple[list[Sample], list[str]]:
    with_labels = split != entry.unlabelled
    images, problems = _files(root, folder.images, split, _IMAGES)
    labels: Files = {}
    if with_labels:
        labels, wrong = _files(root, folder.labels, split, _LABELS)
        problems += wrong
    patterns = [("images", folder.images, images), ("labels", folder.labels, labels)]
    for key, pattern, found in patterns if with_labels else patterns[:1]:
        if not found:
            where = f"{root}/{_of_split(pattern, split)}"
            problems.append(f"{where}: no such files; correct folder.{key} of the entry, or put them there")
    if problems:
        return [], problems
    chosen = set(images)
    if folder.lists is not None:
        chosen, problems = _listed(root, folder, split, images)
        if split != entry.val and not problems:
            other, _ = _listed(root, folder, entry.val, images)
            if shared := sorted(chosen & other):
                problems.append(
                    f"{root}/{_of_split(folder.lists, split)}: {len(shared)} of its images are also in the list of "
                    f"{entry.val} ({shared[0]}{', ...' if len(shared) > 1 else ''}); remove them from one of the two"
                )
    elif folder.val_share is not None:
        chosen = _share(images, folder.val_share, folder.split_seed or 0)
        if split == entry.train:
            chosen = set(images) - chosen
    if folder.val_share is None and "{split}" not in folder.labels:
        names = {folded(name) for name in chosen}  # other labels are of other splits
        labels = {name: path for name, path in labels.items() if folded(name) in names}
    mine = {name: images[name] for name in chosen}
    root.use(mine.values())
    root.use(labels.values())
    if not with_labels:
        return [Sample(name, path, None) for name, path in sorted(mine.items())], problems
    if folder.val_share is None:
        samples, unmatched = match(mine, labels)
        return samples, problems + unmatched
    samples, unmatched = match(images, labels)
    # All images and labels are in both splits here: one of them reports what does not match.
    return [s for s in samples if s.name in chosen], unmatched if split == entry.train else []


def _files(root: RawTree, pattern: str, split: str, endings: Iterable[str]) -> tuple[Files, list[str]]:
    """The files of a pattern by name, and a problem for each two files of one name."""
    filled = _of_split(pattern, split)
    patterns = [filled + ending for ending in endings] if filled.endswith("*") else [filled]
    tree = root
    if not any(root.glob(one, use=False) for one in patterns):
        places = [root.holding(one) for one in patterns]  # in a folder of its own, as from an archive
        tree = next((place for place in places if str(place) != str(root)), root)
    found: Files = {}
    problems = []
    for one in patterns:
        parts = re.compile("(?:.*/)?" + "([^/]*)".join(map(re.escape, _composed(one).split("*"))), re.IGNORECASE)
        for file in tree.glob(one, use=False):
            path = tree.path_of(file)
            same = parts.fullmatch(_composed(path)) or parts.fullmatch(folded(path))
            name = "/".join(same.groups()) if same else path
            if name in found:
                problems.append(f"{file}: has the name of {found[name]}; move one of them away")
            found[name] = file
    return found, problems


def _listed(root: RawTree, folder: Folder, split: str, images: Mapping[str, RawFile]) -> tuple[set[str], list[str]]:
    """The names of the images in the list of a split, and a problem for each line that is not one image.

    A line is a name, a file name, or a path from `root` or from where `folder.images` starts.
    """
    filled = _of_split(folder.lists or "", split)
    depth = folder.images.count("/") + 1
    lists = root.holding(filled).glob(filled)
    if not lists:
        return set(), [f"{root}/{filled}: not found; add this list, or correct folder.lists of the entry"]
    try:
        lines = lists[0].read_bytes().decode().splitlines()
    except UnicodeDecodeError:
        return set(), [f"{lists[0]}: not UTF-8 text; save it as UTF-8"]
    known = defaultdict[str, set[str]](set)
    for name, file in images.items():
        path = root.path_of(file)
        below = "/".join(path.split("/")[-depth:])
        for spelling in {name, name.rpartition("/")[2], file.name, file.stem, path, below}:
            known[folded(spelling)].add(name)
    chosen: set[str] = set()
    problems = []
    for number, line in enumerate(lines, 1):
        wanted = line.strip().removeprefix("./")
        if not wanted or wanted.startswith("#"):
            continue
        names = known.get(folded(wanted), set())
        if len(names) == 1 and not names & chosen:
            chosen |= names
            continue
        what = "is listed twice" if names & chosen else "stands for several images" if names else "is no image"
        problems.append(f"{lists[0]}: line {number}: {wanted!r} {what} of folder.images; write one image on each line")
    return chosen, problems


def _share(names: Iterable[str], share: float, seed: int) -> set[str]:
    """A share of the names, neither none nor all, by a digest of seed and name: a new image hardly moves the others."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return set(ordered[: min(max(1, round(share * len(ordered))), len(ordered) - 1)])


def _of_split(pattern: str, split: str) -> str:
    return pattern.replace("{split}", split)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _no_entry(_root: RawTree, _split: str) -> tuple[list[Sample], list[str]]:
    return [], ["reader folder: takes its files from section `folder` of an entry; see docs/own-dataset.md"]


READER = Reader(
    name="folder",
    classes=("class of the entry",),
    palette=((0, 0, 0),),
    raw_to_train={0: 0},
    scan=_no_entry,
    from_entry=of_entry,
)
