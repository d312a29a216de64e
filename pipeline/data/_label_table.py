"""Label and part of each picture, by a table labels.csv at the top of the folder."""

import contextlib
import csv
import io
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from pipeline.data._finding import Finding
from pipeline.data._labels import like_unknown, standing_apart
from pipeline.data._layout import Layout
from pipeline.data._listing import TABLE, Listing, shown
from pipeline.data._names import SPELLINGS, TESTS, TRAIN, UNLABELLED, VALID
from pipeline.errors import UserError

PARTS = ("", "train", "test", "labelled", "valid", "unlabelled")
SAME = {**SPELLINGS, **dict.fromkeys(VALID, "valid")}
SAME |= {"unlabeled": "unlabelled", "labeled": "labelled"}
# What other tables call the column `part`; not read, their test pictures would be trained on.
LIKE_PART = ("split", "subset", "set", "partition", "phase", "usage")
LIKE_LABEL = ("class", "labels", "category", "target", "class_name", "classname")
LIKE_PATH = ("file", "filename", "file_name", "image", "filepath", "file_path", "image_path")
TOLD = 5  # folders that are told
LONGEST = 80  # characters of a path that a message shows
COLUMNS = "a first line path,label or path,label,part"


class Row(NamedTuple):
    """What the table says of one picture."""

    line: int
    label: str  # "" = unlabelled
    is_test: bool
    part: str
    hidden: bool  # a label stands there, but the part says that it is not to be read


def by_table(listing: Listing) -> Layout:
    """Place each file as labels.csv says; files that it does not name are unlabelled.

    Raises UserError for a table that cannot be read, or that contradicts itself or the folder.
    """
    rows = _rows(listing)
    named = {row.label for row in rows.values()}
    layout, tests, others = Layout(), Counter[str](), Counter[str]()
    for entry in listing.files:
        row = rows.get(shown(entry.name))
        layout.add(row.label if row else "", bool(row and row.is_test))
        tested = _test_folder(entry.name)
        if tested and not (row and row.part):
            _refuse_unsaid(row, listing, entry.name)
            tests[tested] += 1
        elif not row and (folder := _class_folder(entry.name, named)):
            others[folder] += 1
    layout.told += [*_told_of(list(rows.values())), *_told_of_unnamed(tests, others)]
    return layout


def _class_folder(name: str, classes: Collection[str]) -> str:
    """The folder of a file that would be that of a class if there were no table, "" if none is."""
    top, *below = shown(name).split("/")
    if top.casefold() in {*TRAIN, *SPELLINGS} and len(below) > 1:
        return "" if below[0].casefold() in UNLABELLED else f"{top}/{below[0]}"
    return top if below and top in classes else ""


def _test_folder(name: str) -> str:
    """The folder on the way to a file that is called as a test part is, "" if none is."""
    *folders, _ = name.split("/")
    for depth, folder in enumerate(folders, 1):
        if folder.casefold() in TESTS:
            return "/".join(folders[:depth])
    return ""


def _refuse_unsaid(row: Row | None, listing: Listing, name: str) -> None:
    """Raise UserError for a labelled picture of a test folder that the table puts nowhere.

    Folders say nothing beside a table, so it would be trained on.
    """
    if row and row.label:
        raise UserError(
            f"{listing.root / TABLE}, line {row.line}: {shown(name)} has a label and lies in a "
            "folder of test pictures, but the table names no part for it; give the table a column "
            "part, with test (or train) for these pictures"
        )


def _told_of_unnamed(tests: Counter[str], others: Counter[str]) -> Iterator[Finding]:
    """Told of pictures in folders of a meaning that the table does not name.

    Both count pictures by folder: of test parts, and of classes.
    """
    told = (("unlabelled_test_folder", tests), ("unlabelled_class_folder", others))
    for name, folders in told:
        for folder, n in list(folders.items())[:TOLD]:
            yield Finding(
                name,
                n,
                f"labels.csv: no label of {n:,} picture{'s' * (n > 1)} in the folder "
                f"{shown(folder)}; so they are unlabelled training images: where there is a table, "
                "folders say nothing",
            )


def _told_of(rows: Sequence[Row]) -> Iterator[Finding]:
    """What of the table is read otherwise than one might think."""
    if valid := sum(row.part == "valid" for row in rows):
        yield Finding(
            "valid_rows",
            valid,
            f"labels.csv: {valid:,} pictures of part valid joined the training part; valid_frac "
            "chooses the validation images",
        )
    if hidden := sum(row.hidden for row in rows):
        yield Finding(
            "hidden_labels",
            hidden,
            f"labels.csv: {hidden:,} pictures of part unlabelled have a label, which is not read; "
            "make their part train if it is to be read",
        )


def _rows(listing: Listing) -> dict[str, Row]:
    """The table's rows by the name of the picture."""
    path = listing.root / TABLE
    known = {shown(entry.name) for entry in listing.files}
    rows: dict[str, Row] = {}
    columns: dict[str, int] = {}
    text = _text(listing.table or b"", path)
    if text.lower().startswith("sep="):  # Excel's; a blank line keeps the numbers
        text = "\n" + text.partition("\n")[2]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    line = end = width = 0  # where a row begins, and where the one before it ends
    try:
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns, width = _columns(cells, path), len(cells)
                continue
            where = f"{path}, line {line}"
            where += f" (a quote there ends on line {end})" if end > line else ""
            _refuse_surplus(cells, width, where)
            cells.extend([""] * (max(columns.values()) + 1 - len(cells)))
            name = _name(cells[columns["path"]], known, listing.root, where)
            row = _row(cells, columns, line, where)
            before = rows.setdefault(name, row)
            if before[1:3] != row[1:3]:
                raise UserError(
                    f"{where}: {name} is {_told(row)}, but {_told(before)} on line {before.line}; "
                    "keep one of the two lines"
                )
    except csv.Error as error:
        raise UserError(
            f"{path}, line {end + 1}: not a table ({error}); write {COLUMNS}, then one line for "
            "each picture"
        ) from None
    if not columns:
        raise UserError(f"{path}: is empty; write {COLUMNS}, then one line for each picture")
    _refuse_unknown(rows.values(), path)
    return rows


def _refuse_surplus(cells: list[str], width: int, where: str) -> None:
    """Raise UserError if something stands beyond the columns of the first line, `width` of them.

    It is mostly the rest of a label with a comma, whose beginning would name another class.
    """
    if surplus := [cell.strip() for cell in cells[width:] if cell.strip()]:
        raise UserError(
            f"{where}: more cells than the first line has ({_quoted(surplus[0][:LONGEST])}); put "
            'quotes around a label that holds what parts the columns ("Paris, France")'
        )


def _refuse_unknown(rows: Collection[Row], path: Path) -> None:
    """Raise UserError if a label is a word for unknown, unless the table says that it is a class.

    It does so by a row of part labelled, as that of a split has for each class.
    """
    sure = {row.label for row in rows if row.part == "labelled"}
    labels = {row.label for row in rows if row.label}
    apart = None
    if all(label.isascii() and label.isdigit() for label in labels):
        apart = standing_apart(sorted({int(label) for label in labels}))
    for row in rows:
        unknown = like_unknown(row.label) or (apart is not None and row.label == str(apart))
        if unknown and row.label not in sure:
            raise UserError(
                f"{path}, line {row.line}: the label {_quoted(row.label)} looks like "
                "'unknown'; leave it empty (if it is a class, make the part of one such line "
                "labelled)"
            )


def _text(content: bytes, path: Path) -> str:
    """The table's content as text."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8; save the table as UTF-8") from None


def _delimiter(text: str) -> str:
    """What parts the columns: the first line has most of it."""
    head = text.lstrip().partition("\n")[0]
    return max(",;\t", key=head.count)


def _columns(cells: list[str], path: Path) -> dict[str, int]:
    """Where the columns stand, by name."""
    names = [cell.strip().casefold() for cell in cells]
    missing = [name for name in ("path", "label") if name not in names]
    for column, others in (("path", LIKE_PATH), ("label", LIKE_LABEL), ("part", LIKE_PART)):
        other = next((name for name in names if name in others), "")
        if other and column not in names and {"path", "label"} & {*names}:
            raise UserError(f"{path}, line 1: the column {other} is not read; call it {column}")
    if missing:
        raise UserError(
            f"{path}, line 1: no column {' and no column '.join(missing)} among "
            f"{', '.join(map(_quoted, names[:8]))}; write {COLUMNS}"
        )
    for name in ("path", "label", "part"):
        if names.count(name) > 1:
            raise UserError(f"{path}, line 1: the column {name} stands there twice; keep one")
    return {name: names.index(name) for name in ("path", "label", "part") if name in names}


def _name(cell: str, known: set[str], root: Path, where: str) -> str:
    """The picture that a cell names, as `shown`."""
    text = unicodedata.normalize("NFC", cell)
    inside = [text.strip().removeprefix(f"{shown(top)}/") for top in _spelled(root)]
    for spelling in (text, text.strip(), text.strip().replace("\\", "/"), *inside):
        name = posixpath.normpath(spelling) if spelling else ""
        if name in known:
            return name
    if not name:
        raise UserError(f"{where}: the path is empty; name a picture below {root}")
    if name.startswith(("/", "../")) or name == ".." or PureWindowsPath(cell.strip()).drive:
        raise UserError(
            f"{where}: {shown(cell.strip())} leaves {root}; name pictures below that folder"
        )
    there = "does not exist"
    with contextlib.suppress(OSError):  # a name that is too long for a file
        there = "is not among its pictures" if (root / name).exists() else there
    brief = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
    meant = _meant(name, known)
    meant = f" (is {meant} meant?)" if meant else ""
    raise UserError(
        f"{where}: {shown(brief)} {there} in {root}{meant}; correct the path, which starts "
        "at that folder, or remove the line"
    )


def _spelled(root: Path) -> set[str]:
    """The folder's own path as a table may have it: with links and dots, or without."""
    return {str(root.absolute()), os.path.abspath(root), str(root.resolve())}  # noqa: PTH100


def _meant(name: str, known: set[str]) -> str:
    """The one picture that a wrong path is likely to name, "" if none or several are."""
    longer = sorted(other for other in known if other.startswith(f"{name}."))
    file = posixpath.basename(name).casefold()
    alike = [other for other in known if posixpath.basename(other).casefold() == file]
    return longer[0] if longer else alike[0] if len(alike) == 1 else ""


def _quoted(text: str) -> str:
    return f"'{shown(text)}'"


def _row(cells: list[str], columns: dict[str, int], line: int, where: str) -> Row:
    """Label and part of a line."""
    label = shown(" ".join(cells[columns["label"]].split()))
    part = cells[columns["part"]].strip().casefold() if "part" in columns else ""
    part = SAME.get(part, part)
    if part not in PARTS:
        raise UserError(
            f"{where}: part {_quoted(part)} is not known; allowed are train, test, labelled, "
            "unlabelled, valid, or nothing"
        )
    if part == "test" and not label:
        raise UserError(
            f"{where}: a test picture without a label; give it one, or make its part train"
        )
    hidden = part == "unlabelled" and label != ""
    return Row(line, "" if hidden else label, part == "test", part, hidden)


def _told(row: Row) -> str:
    """A row in words."""
    label = f"labelled {row.label}" if row.label else "unlabelled"
    return f"{label}, {'test' if row.is_test else 'train'}"
