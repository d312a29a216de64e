"""Picture files that became images of little use: much enlarged, much cropped, blank."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data._finding import ROWS, Finding

ENLARGED = 2.0  # times
LONG = 3.0  # longer side for one of the shorter
BLANK = 2.0  # standard deviation of grey levels 0..255
CHUNK = 2**24  # bytes of images looked at at once


def odd_sizes(
    files: Sequence[str],
    sizes: NDArray[np.int64],
    image_size: int,
    fit: Literal["crop", "pad"] = "crop",
) -> Finding | None:
    """Pictures that are much smaller than the images made of them, or far from square.

    sizes are those of the files, int [n, 2] (height, width) in pixels; image_size is the side of
    the images; fit says how a picture that is not square became so.
    """
    short, long = sizes.min(axis=1), sizes.max(axis=1)
    scale = image_size / np.maximum(short if fit == "crop" else long, 1)
    ratio = long / np.maximum(short, 1)
    enlarged, stretched = scale >= ENLARGED, ratio > LONG
    rows = []
    for i in np.flatnonzero(enlarged | stretched).tolist():
        facts = [f"{sizes[i][1]}×{sizes[i][0]} pixels"]
        if enlarged[i]:
            facts.append(f"enlarged {scale[i]:.1f} times")
        if stretched[i]:
            lost = 1 - 1 / ratio[i]
            facts.append(f"{lost:.0%} {'cut off' if fit == 'crop' else 'of the image is padding'}")
        rows.append((files[i], ", ".join(facts)))
    if not rows:
        return None
    facts, remedies = [], ["remove them", "cut them to what matters"]
    if n := int(enlarged.sum()):
        facts.append(f"{n:,} enlarged {ENLARGED:g} times or more, so they look blurred")
        remedies.append("choose a smaller image_size")
    if n := int(stretched.sum()):
        fate = "most is cut off" if fit == "crop" else "most is padding"
        facts.append(f"{n:,} with one side more than {LONG:g} times the other, so {fate}")
        remedies += ["say fit=pad"] if fit == "crop" else []
    return Finding(
        "odd_sizes",
        len(rows),
        f"{len(rows):,} of {len(files):,} pictures have odd sizes for images of "
        f"{image_size}×{image_size}: {', and '.join(facts)}; {', '.join(remedies[:-1])} or "
        f"{remedies[-1]}",
        tuple(rows[:ROWS]),
    )


def blank_images(
    images: Sequence[NDArray[np.uint8]], files: Sequence[str], pixel_range: tuple[int, int]
) -> Finding | None:
    """Images without content; images are parts uint8 [n, h, w, c], whose files follow in order.

    pixel_range is that of the data set: images in 0..1 are not blank for that.
    """
    limit = BLANK * (pixel_range[1] - pixel_range[0]) / 255
    deviations = np.concatenate([_deviations(part, limit) for part in images])
    blank = np.flatnonzero(deviations < limit)
    if not len(blank):
        return None
    return Finding(
        "blank_images",
        len(blank),
        f"{len(blank):,} of {len(files):,} images are blank or nearly so: they teach nothing, and "
        "as test images they measure chance; remove them",
        tuple((files[i], f"standard deviation {deviations[i]:.1f}") for i in blank[:ROWS].tolist()),
    )


def _deviations(images: NDArray[np.uint8], limit: float) -> NDArray[np.float32]:
    """Standard deviation of the pixels, of the channel that has most, float32 [n].

    Exact where it may be below limit: every fourth pixel rules out the others.
    """
    h, w = images.shape[1:3]
    step = 4 if min(h, w) >= 32 else 1
    at_once = max(1, CHUNK // max(1, images[0].nbytes))
    parts = []
    for begin in range(0, len(images), at_once):
        chunk = images[begin : begin + at_once]
        deviations = chunk[:, ::step, ::step].std(axis=(1, 2), dtype=np.float32).max(axis=1)
        near = np.flatnonzero(deviations < 4 * limit)
        deviations[near] = chunk[near].std(axis=(1, 2), dtype=np.float32).max(axis=1)
        parts.append(deviations)
    return np.concatenate(parts)
