"""How many labelled images the classes have, how many test images there are, how all are named."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from pipeline.data._finding import Finding

UNEVEN = 10  # labelled images of the largest class for one of the smallest
FEW_TEST = 10  # test images a class
ENOUGH_TEST = 1_000  # in all: the error is then known to 2 or 3 points, however many classes
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
SHOWN = 5  # classes that a sentence names


def class_balance(
    train_labels: NDArray[np.int64], test_labels: NDArray[np.int64], class_names: Sequence[str]
) -> Iterator[Finding]:
    """Findings on labels, int64 [n] with -1 = unknown, and on those of the test images."""
    n_test = len(test_labels)
    counts = np.bincount(train_labels[train_labels >= 0], minlength=len(class_names))
    single = [name for name, n in zip(class_names, counts, strict=True) if n == 1]
    if single:
        yield Finding(
            "single_image_classes",
            len(single),
            f"{len(single):,} of {len(class_names):,} classes have a single labelled training "
            f"image ({_some(single)}): it alone teaches the class, and none can validate it; label "
            "more, or correct its name if it is another class misspelt",
        )
    most, least = int(counts.argmax()), int(counts.argmin())
    ratio = counts[most] / max(counts[least], 1)
    if ratio > UNEVEN:
        yield Finding(
            "imbalance",
            round(ratio),
            f"class {class_names[most]} has {counts[most]:,} labelled training images, "
            f"{class_names[least]} {counts[least]:,}: the error is mostly that of the large "
            "classes; look at macro_f1 and the error of each class, and label more of the small "
            "ones",
        )
    tested = set(test_labels.tolist())
    if untested := [name for number, name in enumerate(class_names) if number not in tested]:
        yield Finding(
            "untested_classes",
            len(untested),
            f"{len(untested):,} of {len(class_names):,} classes have no test image "
            f"({_some(untested)}): the test error says nothing of them; add test images",
        )
    if n_test < min(FEW_TEST * len(class_names), ENOUGH_TEST):
        low, high = _interval(0.2, n_test)
        yield Finding(
            "small_test",
            n_test,
            f"only {n_test:,} test image{'s' * (n_test > 1)}, fewer than {FEW_TEST} a class: the "
            f"95 % interval of the test error is wide (about {low:.0%} to {high:.0%} for an error "
            "of 20%), so small differences say nothing; add test images",
        )


def alike_classes(names: Sequence[str]) -> Finding | None:
    """Classes whose names differ in capitals alone, or are the same number."""
    spellings: dict[str | float, list[str]] = defaultdict(list)
    for name in names:
        spellings[float(name) if NUMBER.fullmatch(name) else name.casefold()].append(name)
    twins = {key: " and ".join(found) for key, found in spellings.items() if len(found) > 1}
    if not twins:
        return None
    numbers = [pair for key, pair in twins.items() if isinstance(key, float)]
    letters = [pair for key, pair in twins.items() if isinstance(key, str)]
    told = [f"that differ in capitals only: {_some(letters)}"] * bool(letters)
    told += [f"that are the same number: {_some(numbers)}"] * bool(numbers)
    return Finding(
        "alike_classes",
        len(twins),
        f"classes {', and '.join(told)}; if they are one class, spell them alike",
    )


def _some(names: Sequence[str]) -> str:
    """The first names."""
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share measured on n images."""
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half
