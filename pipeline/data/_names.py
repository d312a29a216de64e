"""Names of folders: which mean a part, how they are sorted and shown."""

import re
from collections.abc import Sequence

from pipeline.data._listing import shown

TRAIN = ("train", "labelled", "labeled")
UNLABELLED = ("unlabelled", "unlabeled")
VALID = ("valid", "val", "validation", "dev")
SPELLINGS = dict.fromkeys(("training", "training_set", "trainset"), "train")
SPELLINGS |= dict.fromkeys(("testing", "test_set", "testset"), "test")
TESTS = ("test", *(name for name, kind in SPELLINGS.items() if kind == "test"))
SHOWN = 8  # names that a message lists


def natural(name: str) -> tuple[list[str | int], str]:
    """Key that sorts names as people do: 2 before 10."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def few(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown, names[:SHOWN])) + more
