"""What is not read as what it looks like: parts taken for classes, a table by another name."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from pipeline.data._finding import Finding
from pipeline.data._listing import TABLE, Listing, shown
from pipeline.data._names import TESTS, UNLABELLED, few, natural
from pipeline.errors import UserError

# A word for a part at the beginning or the end of a name: seg_train, train2017.
PART_WORD = re.compile(
    r"^(train|test|val)(?:ing|id|idation)?(?![a-z])|(?<![a-z])(train|test|val)(?:ing|id|idation)?$"
)
TABLES = re.compile(
    r".*\.(csv|tsv|xlsx?|ods)(\.txt)?|.*(label|annotation)[^/]*\.(txt|json|xml)", re.IGNORECASE
)
OUR_TABLE = re.compile(r"labels?\.(csv|tsv|xlsx?|ods)(\.txt)?", re.IGNORECASE)
NOT_TRAINED_ON = {*TESTS, *UNLABELLED}


def refuse_table(listing: Listing) -> None:
    """Raise UserError if a table of labels lies at the top under a name that is not read."""
    names = [*listing.companions, *(entry.name for entry in listing.files)]
    if near := sorted(name for name in names if OUR_TABLE.fullmatch(name)):
        raise UserError(
            f"data_dir={listing.root}: {shown(near[0])} is not read; save it as {TABLE} (comma, "
            "semicolon or tab between the columns path,label), or remove it if the folders are the "
            "classes"
        )


def unread_tables(listing: Listing, labels: Sequence[str]) -> list[Finding]:
    """Told of tables that may hold labels and are not read; labels: by folders, of all files."""
    names = [*listing.companions, *(entry.name for entry in listing.files)]
    found = sorted({shown(name) for name in names if TABLES.fullmatch(name.rpartition("/")[2])})
    if not found:
        return []
    classes = sorted({label for label in labels if label}, key=natural)
    return [
        Finding(
            "unread_tables",
            len(found),
            f"no label is read from {few(found)}: the classes are the folders {few(classes)}. If a "
            f"table holds the labels, call it {TABLE} and put it at the top",
        )
    ]


def refuse_parts(listing: Listing, classes: Sequence[str], inside: Mapping[str, set[str]]) -> None:
    """Raise UserError if folders at the top are named or filled as parts are.

    classes: those that would be classes. inside: names of the folders in each, in small letters.
    """
    refuse_parts_of_classes(listing, classes)
    _refuse_named_alike(listing, classes)
    _refuse_filled_as_the_top(listing, classes, inside)
    for one, other in combinations([name for name in classes if len(inside[name]) > 1], 2):
        if len(same := inside[one] & inside[other]) > 1:
            raise UserError(
                f"data_dir={listing.root}: {shown(one)} and {shown(other)} hold folders of the "
                f"same names ({few(sorted(same, key=natural))}), so these look like parts, not "
                "classes. If they are classes, put all class folders into a folder train; if they "
                "are parts, name them train and test, or remove one"
            )


def refuse_parts_of_classes(listing: Listing, classes: Iterable[str]) -> None:
    """Raise UserError if a class folder holds a folder `test` or `unlabelled`.

    classes: paths of the class folders. The pictures would be trained on as others of the class.
    """
    folders = set(classes)
    for folder in listing.folders:
        above, _, name = folder.rpartition("/")
        if above in folders and name.casefold() in NOT_TRAINED_ON:
            place = "unlabelled" if name.casefold() in UNLABELLED else f"{name}/{Path(above).name}"
            raise UserError(
                f"data_dir={listing.root}: {shown(folder)} lies in the folder of a class, so its "
                f"pictures would be trained on as the others of that class; move them to "
                f"{shown(place)}, or rename the folder if that is no part"
            )


def _refuse_named_alike(listing: Listing, classes: Sequence[str]) -> None:
    """Raise UserError if the names of folders differ in a word for a part alone."""
    stems: dict[str, dict[str, str]] = defaultdict(dict)
    for name in classes:
        found = PART_WORD.search(name.casefold())
        if found and (stem := name.casefold().replace(found[0], "", 1)):  # no stem: `_layout` tells
            stems[stem][found[1] or found[2]] = name
    for named in stems.values():
        if len(named) > 1 and "train" in named:
            raise UserError(
                f"data_dir={listing.root}: {few(sorted(named.values()))} look like parts, not "
                "classes. If they are parts, name them train and test, with the class folders "
                "directly in them; if they are classes, put all class folders into a folder train"
            )


def _refuse_filled_as_the_top(
    listing: Listing, classes: Sequence[str], inside: Mapping[str, set[str]]
) -> None:
    """Raise UserError if a folder holds folders named as those beside it (`val/cat`, `cat`)."""
    tops = {name.casefold() for name in classes}
    tested = "test" in {name.casefold() for name in inside}
    for name in classes:
        if len(same := inside[name] & (tops - {name.casefold()})) > 1:
            is_test = "" if tested else ", or name it test"
            raise UserError(
                f"data_dir={listing.root}: {shown(name)} holds folders named as the classes beside "
                f"it ({few(sorted(same, key=natural))}), so it looks like a part, not a class. "
                "Move its pictures into the class folders (validation images are taken from there: "
                f"valid_frac){is_test}; if it is a class, put all class folders into a folder train"
            )
