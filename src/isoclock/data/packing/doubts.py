"""What is no error in a data set, but may not be meant: files that are not used, and labels that are of no use."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

from isoclock.data.formats import CONVERT, OTHER_SUFFIXES
from isoclock.data.readers.listing import folded, is_hidden
from isoclock.data.readers.rawtree import RawTree
from isoclock.records.index import Index

_HIDDEN = "hidden or of a file manager"


def unused_files(tree: RawTree) -> list[str]:
    """A line with the files that no reader asked for, in folders that were searched; none if there are no such files."""
    found = unused_kinds(tree)
    return [f"{tree}: files that are not used, in the folders of the data set: {', '.join(found)}"] if found else []


def unused_kinds(tree: RawTree) -> list[str]:
    """The files that no reader asked for, such as `2 *.txt (train/a.txt, ...)`: of the folders that were searched."""
    found, kinds = tree.found, defaultdict[str, list[str]](list)
    archives = {archive.path for archive in found.archives}
    members = [path for archive in found.archives for path in archive.members]
    kinds[_HIDDEN] += filter(is_hidden, members)
    for path in found.in_searched([*found.listing.files, *members]):
        if not is_hidden(path) and folded(path) not in found.used and tree.root / path not in archives:
            suffix = PurePosixPath(path).suffix
            kinds[f"*{suffix}" if suffix else "without extension"].append(path)
    # Those of Git and DVC belong there.
    kinds[_HIDDEN] += [
        path for path in found.listing.hidden if not PurePosixPath(path).name.startswith((".git", ".dvc"))
    ]
    kinds["pipes, sockets or devices"] += found.in_searched(found.listing.special)
    kinds["links to files that do not exist"] += found.in_searched(found.listing.dangling)
    return [
        f"{len(paths)} {kind} ({min(paths)}{', ...' if len(paths) > 1 else ''})"
        + (f": {CONVERT}" if kind.lower().endswith(OTHER_SUFFIXES) else "")
        for kind, paths in kinds.items()
        if paths
    ]


def doubts(index: Index) -> list[str]:
    """What makes a prepared data set useless for training or scoring, one line each: valid, but probably not meant."""
    labelled = {name: split for name, split in index.splits.items() if "labels" in split.files}
    void = [name for name, split in labelled.items() if not any(split.class_pixels)]
    found = [
        f"split {name}: all labels are void, so nothing can be {'scored' if name == 'val' else 'learned'}; "
        f"are these the labels of reader {index.reader}?"
        for name in void
    ]
    if not void and {"train", "val"} <= labelled.keys():
        pixels = zip(index.classes, labelled["train"].class_pixels, labelled["val"].class_pixels, strict=True)
        if unseen := [name for name, train, val in pixels if val and not train]:
            found.append(f"classes that occur in val but not in the labels of train: {', '.join(unseen)}")
    return found
