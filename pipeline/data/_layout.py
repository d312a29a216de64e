"""Label and part of each picture, by the folders it lies in; `_label_table` does it by a table."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data._finding import Finding
from pipeline.data._labels import like_unknown
from pipeline.data._listing import Listing, shown
from pipeline.data._mistaken import (
    refuse_parts,
    refuse_parts_of_classes,
    refuse_table,
    unread_tables,
)
from pipeline.data._names import SPELLINGS, TRAIN, UNLABELLED, VALID, few, natural
from pipeline.errors import UserError

LAYOUTS = (
    "needed are folders train/<class> (and test/<class>, unlabelled), or labelled/<class> and "
    "unlabelled, or one folder for each class, or a labels.csv with the columns path,label"
)
MISPLACED = "lies in no class folder"
NO_LABEL = re.compile(r"un[ _-]?label|not?[ _-]?label", re.IGNORECASE)  # how such a name begins


@dataclass
class Layout:
    """What the places of the files say; lists are in the order of `Listing.files`."""

    labels: list[str] = field(default_factory=list)  # "" = unlabelled
    is_test: list[bool] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)  # why a file has no place, "" if it has one
    class_folders: dict[str, str] = field(default_factory=dict)  # training folder → its class
    told: list[Finding] = field(default_factory=list)

    def add(self, label: str, is_test: bool = False, outside: str = "") -> None:
        """Note the next file."""
        self.labels.append(label)
        self.is_test.append(is_test)
        self.outside.append(outside)


def class_name(folder: str, root: Path) -> str:
    """A class by the name of its folder.

    Raises UserError if that is blank: no name would be left, and "" means unlabelled.
    """
    name = unicodedata.normalize("NFC", shown(folder)).strip()
    if not name:
        raise UserError(
            f"data_dir={root} holds a class folder whose name is blank ({folder!a}); rename it, or "
            "call it unlabelled if nobody knows what its pictures show"
        )
    return name


def by_folders(listing: Listing) -> Layout:
    """Find the layout of the folders and place each file in it.

    Raises UserError if none fits, or several do.
    """
    refuse_table(listing)
    tops = _kinds(listing)
    _refuse_twins(tops, listing.root)
    kinds = {kind: name for name, kind in tops.items()}
    trains = [kind for kind in TRAIN if kind in kinds]
    if len(trains) > 1:
        raise UserError(
            f"data_dir={listing.root} holds both {kinds[trains[0]]} and {kinds[trains[1]]}; "
            "put the class folders of both into one folder train"
        )
    if trains:
        _refuse_others(listing, tops, kinds[trains[0]])
        return _in_parts(listing, tops, kinds[trains[0]])
    return _in_classes(listing, tops)


def _kinds(listing: Listing) -> dict[str, str]:
    """What the folders at the top are, by their names: in small letters, or the usual spelling.

    `training` and the like are parts if nothing but parts stands there, or if they hold several
    folders; or else they may be classes.
    """
    tops = {name: name.casefold() for name in listing.folders if "/" not in name}
    parts = {*TRAIN, "test", *UNLABELLED, *VALID, *SPELLINGS}
    filled, inside = _filled(listing), _inside(listing)
    alone = all(kind in parts for name, kind in tops.items() if name in filled)
    return {
        name: SPELLINGS.get(kind, kind) if alone or len(inside[name]) > 1 else kind
        for name, kind in tops.items()
    }


def _filled(listing: Listing) -> set[str]:
    """The folders at the top with files in them or below."""
    return {entry.name.partition("/")[0] for entry in listing.files if "/" in entry.name}


def _inside(listing: Listing) -> dict[str, set[str]]:
    """Names of the folders in each folder at the top, in small letters."""
    inside: dict[str, set[str]] = defaultdict(set)
    for folder in listing.folders:
        top, *below = folder.split("/")
        inside[top].update(name.casefold() for name in below[:1])
    return inside


def _refuse_twins(tops: dict[str, str], root: Path) -> None:
    """Raise UserError if two folders have one meaning."""
    meanings = [UNLABELLED, ("test",), *((kind,) for kind in TRAIN)]
    for meaning in meanings:
        twins = [name for name, kind in tops.items() if kind in meaning]
        if len(twins) > 1:
            raise UserError(f"data_dir={root} holds {twins[0]} and {twins[1]}; make them one")


def _refuse_others(listing: Listing, tops: dict[str, str], train: str) -> None:
    """Raise UserError for folders with files beside train, test and unlabelled."""
    known = {tops[train], "test", *UNLABELLED}
    filled = _filled(listing)
    others = [name for name, kind in tops.items() if kind not in known and name in filled]
    if not others:
        return
    if any(tops[name] in VALID for name in others):
        remedy = (
            f"move their pictures into the class folders of {train}: validation images are taken "
            "from there (valid_frac)"
        )
    else:
        remedy = f"beside {train} there may be test and unlabelled; move or remove the others"
    if not _inside(listing)[train]:
        remedy += f"; if {shown(train)} is a class, put all class folders into a new folder train"
    raise UserError(f"data_dir={listing.root} holds {few(others)} besides {train}; {remedy}")


def _in_parts(listing: Listing, tops: dict[str, str], train: str) -> Layout:
    """train/<class>/…, test/<class>/…, unlabelled/…"""
    layout = Layout()
    for folder in listing.folders:
        top, _, name = folder.partition("/")
        if top == train and name and "/" not in name and name.casefold() not in UNLABELLED:
            layout.class_folders[folder] = class_name(name, listing.root)
    refuse_parts_of_classes(listing, layout.class_folders)
    for entry in listing.files:
        top, *below = entry.name.split("/")
        kind = tops.get(top)
        if kind in UNLABELLED:
            layout.add("")
        elif kind is None or len(below) < 2:
            layout.add("", outside=MISPLACED)
        elif kind != "test" and below[0].casefold() in UNLABELLED:
            layout.add("")
        else:
            layout.add(class_name(below[0], listing.root), kind == "test")
    layout.told += [*_told_of_unknown(layout), *unread_tables(listing, layout.labels)]
    return layout


def _in_classes(listing: Listing, tops: dict[str, str]) -> Layout:
    """<class>/…, optionally test/<class>/… and unlabelled/…"""
    classes = [name for name, kind in tops.items() if kind not in {"test", *UNLABELLED}]
    _refuse_none(listing, classes)
    refuse_parts(listing, classes, _inside(listing))
    layout = Layout(class_folders={name: class_name(name, listing.root) for name in classes})
    layout.told += [_told_of_valid(name) for name in classes if tops[name] in VALID]
    names = set(layout.class_folders.values())
    tested = _tests_classes(listing, tops, names)
    for entry in listing.files:
        top, *below = entry.name.split("/")
        kind = tops.get(top)
        if kind is None or (kind == "test" and tested and len(below) < 2):
            layout.add("", outside=MISPLACED)
        elif kind == "test":
            if len(below) < 2 or class_name(below[0], listing.root) not in names:
                raise UserError(
                    f"data_dir={listing.root}: {shown(entry.name)} lies in no folder "
                    f"{shown(top)}/<class> of the classes {few(sorted(names, key=natural))}; is "
                    f"{shown(top)} a class or the test part? Put the class folders into a folder "
                    "train to tell them apart"
                )
            layout.add(class_name(below[0], listing.root), True)
        else:
            layout.add("" if kind in UNLABELLED else class_name(top, listing.root))
    layout.told += [*_told_of_unknown(layout), *unread_tables(listing, layout.labels)]
    return layout


def _tests_classes(listing: Listing, tops: dict[str, str], names: set[str]) -> bool:
    """Whether a folder of the test part is named as a class: then it is no class itself."""
    for folder in listing.folders:
        top, *below = folder.split("/")
        if below and tops.get(top) == "test" and class_name(below[0], listing.root) in names:
            return True
    return False


def _told_of_valid(folder: str) -> Finding:
    """Told of a class that is named as a part of other data sets."""
    return Finding(
        "class_named_as_part",
        1,
        f"the folder {shown(folder)} is read as a class; if it holds validation images, move them "
        "into the class folders: validation images are taken from there (valid_frac)",
    )


def _told_of_unknown(layout: Layout) -> list[Finding]:
    """Told of classes that are named as if nobody knew the labels of their pictures."""
    filled = set(layout.labels)
    folders = [
        folder
        for folder, name in layout.class_folders.items()
        if name in filled and (like_unknown(name) or NO_LABEL.match(name))
    ]
    if not folders:
        return []
    return [
        Finding(
            "class_named_as_unknown",
            len(folders),
            f"read as a class: {few(folders)}; if nobody knows what the pictures show, call the "
            "folder unlabelled",
        )
    ]


def _refuse_none(listing: Listing, classes: Sequence[str]) -> None:
    """Raise UserError unless there are class folders, two at least."""
    root = listing.root
    if len(classes) > 1:
        return
    for folder in classes:
        inside = _inside(listing)[folder]
        if len(inside) > 1 or inside & {*TRAIN, "test"}:
            raise UserError(
                f"data_dir={root} holds one folder, {shown(folder)}, with folders in it; if those "
                f"are the classes or parts, say data_dir={root / shown(folder)}"
            )
    files = len(listing.files)
    if classes:
        found = f"one class folder, {shown(classes[0])}; at least two classes are needed"
    elif listing.folders:
        found = f"{few(listing.folders)} but no class folders"
    else:
        found = f"{files:,} file{'s' * (files != 1)} and no folders"
    raise UserError(f"data_dir={root} holds {found}: {LAYOUTS}")
