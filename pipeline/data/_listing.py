"""Which files a folder of pictures holds: nothing here opens one."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TABLE = "labels.csv"
# What cameras, labelling tools and data sets put beside pictures.
COMPANIONS = (".txt", ".md", ".json", ".csv", ".xml", ".html")
SYSTEM_FILES = frozenset(  # in small letters
    {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"}
    | {"@eadir", "#recycle"}  # of Synology
)

CONTROL = frozenset({"Cc", "Zl", "Zp"})  # categories of characters that would break a line


class Entry(NamedTuple):
    """One file that may be a picture."""

    name: str  # path below the folder, "/" between its parts, as the file system spells it
    size: int  # bytes
    mtime_ns: int
    ctime_ns: int  # changes with the content even where the time of change was set back
    reason: str = ""  # why it cannot be read, as far as its entry tells


@dataclass(frozen=True)
class Listing:
    """A folder and all below it, in an order that does not depend on the file system."""

    root: Path
    files: list[Entry]
    folders: list[str]  # paths below the root
    companions: list[str]  # text files that are passed over
    table: bytes | None  # content of labels.csv at the top

    def fingerprint(self, *more: object) -> str:
        """32 hex digits that change when a file is added, taken away, renamed or written."""
        text = "\n".join([f"{n}\0{s}\0{m}\0{c}\0{why}" for n, s, m, c, why in self.files])
        rest = "\n".join((*self.folders, "", *self.companions, repr(self.table), repr(more)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16)
        digest.update(rest.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def shown(name: str) -> str:
    """A file's name as text that can be printed and stored: composed, bytes that are no UTF-8 as
    `\\xff`, as are control characters."""
    if name.isascii() and name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(ascii(c)[1:-1] if unicodedata.category(c) in CONTROL else c for c in text)
    return unicodedata.normalize("NFC", text)


def listed(root: Path) -> Listing:
    """List a folder; links are followed, but in no circles.

    Hidden files and folders are passed over. Raises OSError if the folder itself cannot be read.
    """
    files: list[Entry] = []
    folders: list[str] = []
    companions: list[str] = []
    table = None
    for entry in _walk(str(root), files, folders):
        if entry.name == TABLE and not entry.reason:
            table = (root / TABLE).read_bytes()
        elif entry.name.lower().endswith(COMPANIONS):
            companions.append(entry.name)
        else:
            files.append(entry)
    files.sort(key=lambda entry: (shown(entry.name), entry.name))
    return Listing(root, files, sorted(folders, key=shown), sorted(companions, key=shown), table)


def _walk(root: str, faulty: list[Entry], folders: list[str]) -> Iterator[Entry]:
    """Every file below root; folders that cannot be read go to `faulty`, the others to `folders`.

    Below each folder of the root, a folder is read once, at its own place rather than by a link, so
    that links that lead in circles end.
    """
    top_level = _identity(root)
    seen = set()
    waiting, linked = [""], list[str]()
    while waiting or linked:
        folder = (waiting or linked).pop()
        path = os.path.join(root, folder) if folder else root  # noqa: PTH118
        try:
            identity = folder.partition("/")[0], _identity(path)
            if folder and (identity[1] == top_level or identity in seen):
                folders.append(folder)
                continue
            seen.add(identity)
            with os.scandir(path) as entries:
                found = [
                    entry
                    for entry in entries
                    if entry.name[0] != "." and entry.name.lower() not in SYSTEM_FILES
                ]
        except OSError as error:
            if not folder:
                raise
            faulty.append(Entry(folder, 0, 0, 0, f"folder: {_why(error)}"))
            continue
        if folder:
            folders.append(folder)
        subfolders = []
        for entry in found:
            name = f"{folder}/{entry.name}" if folder else entry.name
            try:
                about = entry.stat()
            except OSError as error:
                why = "a link that leads nowhere" if entry.is_symlink() else _why(error)
                yield Entry(name, 0, 0, 0, why)
                continue
            if stat.S_ISDIR(about.st_mode):
                subfolders.append((name, entry.is_symlink()))
                continue
            # Reading a pipe would wait for ever.
            special = "" if stat.S_ISREG(about.st_mode) else "not a regular file"
            yield Entry(name, about.st_size, about.st_mtime_ns, about.st_ctime_ns, special)
        for name, is_link in sorted(subfolders, reverse=True):
            (linked if is_link else waiting).append(name)


def _identity(folder: str) -> tuple[int, int]:
    """What tells a folder from all others."""
    about = os.stat(folder)  # noqa: PTH116
    return about.st_dev, about.st_ino


def _why(error: OSError) -> str:
    """The reason of an error in a few words."""
    return (error.strerror or type(error).__name__).lower()
