"""Picture files in a folder, counted for a message: nothing here opens one."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePath

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
)
READ_THEM = "say dataset=folder, which reads folders of picture files"


def below(folder: Path) -> str:
    """What lies in a folder and below: "12 folders with 3,400 .jpg files", "" if no pictures."""
    return counted(
        PurePath(where, file)
        for where, folders, files in os.walk(folder)
        if not PurePath(where).name.startswith(".")
        for file in files
    )


def counted(paths: Iterable[PurePath]) -> str:
    """How many of the paths are pictures, by suffix, and in how many folders; "" if none is."""
    pictures = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not pictures:
        return ""
    folders = len({path.parent for path in pictures})
    kinds = Counter(path.suffix.lower() for path in pictures).most_common(3)
    files = " and ".join(f"{n:,} {suffix}" for suffix, n in kinds)
    return f"{folders:,} folder{'s' * (folders > 1)} with {files} file{'s' * (len(pictures) > 1)}"
