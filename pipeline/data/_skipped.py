"""What is told of the files in a folder: what was skipped, what was guessed."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pipeline.data._finding import DRAWN_TEST, Finding
from pipeline.data._layout import MISPLACED
from pipeline.data._listing import shown
from pipeline.data._names import few
from pipeline.errors import UserError

TOLD = 3  # files that a sentence names
UNREADABLE, PLACELESS = "unreadable", "misplaced"
INTO_TEST = "Put pictures into test/<class>"
SUFFIXES = {
    "PNG": {".png", ".apng"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"},
}


def file_findings(
    names: Sequence[str],
    reasons: Sequence[str],
    labels: Sequence[str],
    formats: Sequence[str],
    companions: Sequence[str],
    empty: Mapping[str, str],
) -> Iterator[Finding]:
    """Findings on the files.

    Args:
        names: of all files.
        reasons: why each cannot be used, "" if it can.
        labels: of each, "" if unlabelled.
        formats: of each file by its content, as Pillow names them.
        companions: files that were passed over.
        empty: class folders without a usable picture, and their classes.
    """
    unused = [(shown(n), reason) for n, reason in zip(names, reasons, strict=True) if reason]
    if misplaced := [(name, reason) for name, reason in unused if reason == MISPLACED]:
        yield Finding(
            PLACELESS,
            len(misplaced),
            f"{_counted(len(misplaced), 'file')} in no class folder, so not used "
            f"({few([name for name, _ in misplaced])}); move them into one, or to unlabelled if "
            "nobody knows what they show",
            tuple(misplaced),
        )
    unusable = [(name, reason) for name, reason in unused if reason != MISPLACED]
    if unusable:
        lost = {
            shown(n) for n, label, why in zip(names, labels, reasons, strict=True) if why and label
        }
        unusable.sort(key=lambda row: row[0] not in lost)  # labels that are lost come first
        of_them = f", {len(lost):,} of them labelled" if lost else ""
        yield Finding(
            UNREADABLE,
            len(unusable),
            f"{len(unusable):,} of {len(names):,} files cannot be used and were skipped"
            f"{of_them} ({_some(unusable)}); repair or remove them (strict=true makes this an "
            "error)",
            tuple(unusable),
        )
    renamed = [
        (shown(name), f"is {kind}")
        for name, kind, reason in zip(names, formats, reasons, strict=True)
        if not reason and _suffix(name) and _suffix(name) not in SUFFIXES.get(kind, ())
    ]
    if renamed:
        yield Finding(
            "wrong_suffix",
            len(renamed),
            f"read by content although the suffix says another kind: "
            f"{_counted(len(renamed), 'picture')} ({_some(renamed)}); rename them if "
            "other programs shall read them",
            tuple(renamed),
        )
    if companions:
        kinds = Counter(map(_suffix, companions)).most_common(TOLD)
        counts = ", ".join(f"{n:,} {suffix}" for suffix, n in kinds)
        yield Finding(
            "companion_files",
            len(companions),
            f"{_counted(len(companions), 'text file')} beside the pictures passed over ({counts}); "
            "labels are read from folder names or labels.csv alone",
        )
    if empty:
        yield Finding(
            "empty_classes",
            len(empty),
            f"no usable picture in {_counted(len(empty), 'class folder')} ({few(list(empty))}), so "
            "not a class; add pictures or remove the folders",
            tuple((shown(folder), "no usable picture") for folder in empty),
        )


def drawn_test(count: int, labelled: int, test_frac: float, by_table: bool) -> Finding:
    """Told where the folder has no test part; by_table: labels.csv says what is."""
    choose = "Write test into the column part of labels.csv" if by_table else INTO_TEST
    return Finding(
        DRAWN_TEST,
        count,
        f"the folder has no test part, so {count:,} of its {labelled:,} labelled pictures, of each "
        f"class its share (test_frac={test_frac:g}), are kept for the test; the same ones whatever "
        f"the seed. {choose} to choose them yourself",
    )


def test_copies(names: Sequence[str]) -> list[Finding]:
    """Told of pictures without a label that are left out, for a test picture shows the same."""
    if not names:
        return []
    rows = tuple((shown(name), "equals a test picture") for name in names)
    return [
        Finding(
            "test_copies",
            len(rows),
            f"{_counted(len(rows), 'picture')} without a label left out, equal to one of the test "
            f"part ({few(list(names))})",
            rows,
        )
    ]


def refuse(findings: Sequence[Finding], where: str) -> None:
    """Raise UserError if files were skipped."""
    for finding in findings:
        if finding.name in (UNREADABLE, PLACELESS):
            raise UserError(
                f"{where}: {_counted(finding.count, 'file')} cannot be used "
                f"({_some(finding.rows)}); repair or remove them, or leave strict out to skip them"
            )


def _some(rows: Sequence[tuple[str, str]]) -> str:
    """The first rows in words."""
    more = f", and {len(rows) - TOLD:,} more" if len(rows) > TOLD else ""
    return ", ".join(f"{name}: {what}" for name, what in rows[:TOLD]) + more


def _counted(count: int, noun: str) -> str:
    """So many of them."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _suffix(name: str) -> str:
    """Of a file name, in small letters."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122
