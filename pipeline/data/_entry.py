"""An entry of the cache made from a folder: decoded, ordered, checked, written."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median_low
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.data import _cache, _parts, _reading, _scale, _skipped
from pipeline.data._checks import picture_findings
from pipeline.data._decoding import Decoded, Look, Target
from pipeline.data._finding import Finding
from pipeline.data._labels import UNKNOWN
from pipeline.data._layout import Layout
from pipeline.data._listing import Listing, shown
from pipeline.data.dataset import Options, build
from pipeline.errors import UserError

SIDES = (32, 48, 64, 96, 128)  # of images, if the user names none; up to options.largest
SMALLEST = 8
COPIED = 1 << 24  # bytes of images in memory while they are put in order
TRAIN, TEST, UNUSED = 0, 1, -1  # parts in the table


@dataclass
class Pictures:
    """All that is known of the files, in the order of `listing.files`."""

    listing: Listing
    layout: Layout
    looks: list[Look]
    reasons: list[str]  # why a file cannot be used, "" if it can so far
    where: str  # for messages

    @property
    def usable(self) -> list[int]:
        """Positions of the files that can be used so far."""
        return [index for index, reason in enumerate(self.reasons) if not reason]

    def names(self, positions: Sequence[int]) -> list[str]:
        """Names of the files at these positions."""
        return [self.listing.files[index].name for index in positions]


def make(pictures: Pictures, options: Options, folder: Path) -> dict[str, Any]:
    """Write images and table of an entry into folder; returns what there is to say of it.

    Raises UserError if the pictures are no data set, OSError if they cannot be written.
    """
    scratch = folder / "scratch"
    rows, decoded, target = _decoded(pictures, options, scratch)
    good = [index for index in rows if not pictures.reasons[index]]
    shape = (len(rows), *target.shape)
    digests = _digests(pictures, rows, _copied(scratch, shape, np.arange(len(rows)), shape))
    labels, is_test, names, drawn = _placed(pictures, good, digests, options)
    copies = _copies(pictures, good, digests, is_test)
    numbers = {name: number for number, name in enumerate(names)} | {"": UNKNOWN}
    part = np.full(len(pictures.reasons), UNUSED, np.int8)
    part[good] = is_test
    part[copies] = UNUSED
    label = np.full(len(pictures.reasons), UNKNOWN, np.int32)
    label[good] = [numbers[text] for text in labels]
    row_of = {index: row for row, index in enumerate(rows)}
    order = [*np.flatnonzero(part == TRAIN), *np.flatnonzero(part == TEST)]
    channels = 1 if all(decoded[row_of[index]].grey for index in good) else 3
    wanted = (len(order), target.side, target.side, channels)
    in_order = np.array([row_of[index] for index in order])
    _cache.write_images(folder / _cache.IMAGES, wanted, _copied(scratch, shape, in_order, wanted))
    scratch.unlink()
    sizes = np.zeros((len(pictures.reasons), 2), np.int32)
    sizes[good] = [decoded[row_of[index]][:2] for index in good]
    np.savez(
        folder / _cache.TABLE,
        name=_cache.packed([shown(entry.name) for entry in pictures.listing.files]),
        label=label,
        part=part,
        width=sizes[:, 0],
        height=sizes[:, 1],
        reason=_cache.packed([shown(reason) for reason in pictures.reasons]),
    )
    told = [*_skipped.test_copies(pictures.names(copies)), *_told(pictures, names)]
    if drawn:
        labelled = sum(map(bool, labels))
        by_table = pictures.listing.table is not None
        told.insert(0, _skipped.drawn_test(sum(is_test), labelled, options.test_frac, by_table))
    files = [shown(name) for name in pictures.names(order)]
    n_train = int((part == TRAIN).sum())
    about = _checked(
        folder, pictures.where, names, label[order], n_train, files, sizes[order], options.fit, told
    )
    return about | {"scale": target.scale.as_text()}


def wanted(pictures: Pictures, options: Options) -> int:
    """Bytes that an entry needs while it is made, about."""
    target = _target(pictures, options)
    return 2 * len(pictures.usable) * target.side**2 * target.channels


def _decoded(
    pictures: Pictures, options: Options, scratch: Path
) -> tuple[list[int], list[Decoded], Target]:
    """Decode the usable pictures into scratch: their positions, what came of each, the target.

    Those that cannot be decoded get their reason. They must not decide what becomes of
    the others.
    """
    while True:
        rows = pictures.usable
        target = _target(pictures, options)
        files = [pictures.listing.files[index] for index in rows]
        decoded = _reading.decode(
            pictures.listing.root,
            [file.name for file in files],
            [file.size for file in files],
            target,
            scratch,
        )
        for index, picture in zip(rows, decoded, strict=True):
            pictures.reasons[index] = picture.reason
        if _target(pictures, options) == target:
            return rows, decoded, target


def _target(pictures: Pictures, options: Options) -> Target:
    """What the usable pictures become.

    Without options.image_size the side is the median of the pictures' shorter sides, brought to the
    nearest of SIDES up to options.largest; below 32 pixels it stays what it is, from 8 on.
    Values of more than eight bits get one scale. Raises UserError if there is no usable picture.
    """
    looks = [pictures.looks[index] for index in pictures.usable]
    if not looks:
        reasons = [reason for reason in pictures.reasons if reason]
        raise UserError(
            f"{pictures.where}: none of its {len(reasons):,} files can be used "
            f"({shown(pictures.listing.files[0].name)}: {reasons[0]})"
        )
    side = options.image_size
    if side is None:
        shorter = median_low(min(look.width, look.height) for look in looks)
        sides = [one for one in SIDES if one <= options.largest]
        nearest = min(sides, key=lambda one: (abs(one - shorter), one))
        side = max(SMALLEST, shorter) if shorter < SIDES[0] else nearest
    coloured = any(look.may_be_coloured for look in looks)
    scale = _scale.common([look.span for look in looks if look.span])
    return Target(side, 3 if coloured else 1, options.fit, scale)


def _digests(
    pictures: Pictures, rows: list[int], decoded: Iterator[NDArray[np.uint8]]
) -> dict[int, bytes]:
    """Of each picture that was decoded, by position: its file's digest.

    Those that show the same, in other files, have the smallest of theirs: so copies stay together.
    """
    same: dict[bytes, list[int]] = defaultdict(list)
    images = (image for part in decoded for image in part)
    for index, image in zip(rows, images, strict=True):
        same[hashlib.blake2b(image.tobytes(), digest_size=16).digest()].append(index)
    return {
        index: min(pictures.looks[one].digest for one in members)
        for members in same.values()
        for index in members
    }


def _placed(
    pictures: Pictures, good: list[int], digests: Mapping[int, bytes], options: Options
) -> tuple[list[str], list[bool], tuple[str, ...], bool]:
    """Label and part of the good pictures, names of the classes, whether the test part was drawn.

    Raises UserError if they are no data set.
    """
    labels = [pictures.layout.labels[index] for index in good]
    is_test = [pictures.layout.is_test[index] for index in good]
    names = _parts.classes(labels, is_test, pictures.where)
    if any(is_test):
        return labels, is_test, names, False
    if any(pictures.layout.is_test):
        raise UserError(
            f"{pictures.where}: none of the pictures of the test part can be used; repair them, or "
            "take the test part away: one is then drawn from the labelled pictures (test_frac)"
        )
    is_test = _parts.drawn(labels, [digests[index] for index in good], options.test_frac)
    if not any(is_test):
        raise UserError(
            f"{pictures.where}: there is no test part, and no class has two labelled pictures, so "
            "that one could be kept for it; label more pictures"
        )
    return labels, is_test, names, True


def _copies(
    pictures: Pictures, good: list[int], digests: Mapping[int, bytes], is_test: list[bool]
) -> list[int]:
    """Those of the good pictures that have no label and are a copy of one that tests."""
    tested = {digests[index] for index, test in zip(good, is_test, strict=True) if test}
    unlabelled = [index for index in good if not pictures.layout.labels[index]]
    return [index for index in unlabelled if digests[index] in tested]


def _copied(
    scratch: Path, shape: tuple[int, ...], rows: NDArray[np.int64], wanted: tuple[int, ...]
) -> Iterator[NDArray[np.uint8]]:
    """Rows of the images in scratch, in parts; equal channels become one if one is wanted."""
    at_once = max(1, COPIED // (shape[1] * shape[2] * shape[3]))
    for begin in range(0, len(rows), at_once):
        # Mapped anew each time, so that the pages that were read do not stay in memory.
        images = np.memmap(scratch, np.uint8, "r", shape=shape)
        yield images[rows[begin : begin + at_once]][..., : wanted[3]]


def _told(pictures: Pictures, names: tuple[str, ...]) -> Iterator[Finding]:
    """Findings on the files and on what says their labels."""
    usable = set(names)
    spans = [pictures.looks[index].span for index in pictures.usable]
    yield from pictures.layout.told
    if deep := _scale.told([span for span in spans if span]):
        yield deep
    yield from _skipped.file_findings(
        [entry.name for entry in pictures.listing.files],
        pictures.reasons,
        pictures.layout.labels,
        [look.format for look in pictures.looks],
        pictures.listing.companions,
        {f: name for f, name in pictures.layout.class_folders.items() if name not in usable},
    )


def _checked(
    folder: Path,
    where: str,
    class_names: tuple[str, ...],
    labels: NDArray[np.int32],
    n_train: int,
    files: list[str],
    sizes: NDArray[np.int32],
    fit: Literal["crop", "pad"],
    told: list[Finding],
) -> dict[str, Any]:
    """Check the decoded images once, and what is kept of it: findings, digest, range of pixels."""
    progress.phase("checking pictures")
    images = np.load(folder / _cache.IMAGES, mmap_mode="r")
    train, test = images[:n_train], images[n_train:]
    named_files = files[:n_train], files[n_train:]
    dataset = build(
        "folder",
        where,
        (train, labels[:n_train]),
        (test, labels[n_train:]),
        class_names,
        files=named_files,
    )
    as_stored = sizes[:, ::-1].astype(np.int64)  # height, width
    seen = picture_findings(
        train,
        labels[:n_train].astype(np.int64),
        test,
        *named_files,
        as_stored[:n_train],
        as_stored[n_train:],
        fit,
    )
    named = "\0".join((dataset.digest, *class_names))
    return {
        "shape": images.shape,
        "n_train": n_train,
        "class_names": class_names,
        "digest": hashlib.sha256(named.encode()).hexdigest()[:16],
        "pixel_range": dataset.pixel_range,
        "findings": [asdict(finding) for finding in (*told, *dataset.findings, *seen)],
    }
