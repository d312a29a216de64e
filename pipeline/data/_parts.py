"""Classes of the pictures, and which of them test."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from pipeline.data._layout import LAYOUTS
from pipeline.data._names import few, natural
from pipeline.errors import UserError


def classes(labels: Sequence[str], is_test: Sequence[bool], where: str) -> tuple[str, ...]:
    """Names of the classes of the usable pictures in natural order; "" is no label.

    Raises UserError if there are not two, or the test part has one that training has not.
    """
    pairs = list(zip(labels, is_test, strict=True))
    trained = sorted({label for label, test in pairs if label and not test}, key=natural)
    if len(trained) < 2:
        found = f"one class, {trained[0]}" if trained else "no labelled pictures to train on"
        raise UserError(f"{where}: {found}; at least two classes are needed: {LAYOUTS}")
    known = set(trained)
    others = sorted({label for label, test in pairs if test and label not in known}, key=natural)
    if others:
        raise UserError(
            f"{where}: the test part has pictures of {few(others)}, but training has none with "
            f"that label (its classes: {few(trained)}); add some, or take them out of the test part"
        )
    return tuple(trained)


def drawn(labels: Sequence[str], digests: Sequence[bytes], test_frac: float) -> list[bool]:
    """Which pictures test: of each class its share, one at least but never all.

    A class's pictures are ordered by the digest of their content, and the first ones test. So no
    seed decides, equal pictures stay on one side, and new ones move few.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        if label:
            members[label].append(index)
    is_test = [False] * len(labels)
    for indices in members.values():
        indices.sort(key=lambda index: digests[index])
        wanted = min(max(1, round(test_frac * len(indices))), len(indices) - 1)
        for index in indices[: _whole([digests[index] for index in indices], wanted)]:
            is_test[index] = True
    return is_test


def _whole(digests: Sequence[bytes], wanted: int) -> int:
    """The number nearest to `wanted` that parts no equal digests; `wanted` if none does."""
    ends, end = [], 0
    for _, group in groupby(digests):
        end += len(list(group))
        ends.append(end)
    return min(ends[:-1], key=lambda end: abs(end - wanted), default=wanted) if wanted else 0
