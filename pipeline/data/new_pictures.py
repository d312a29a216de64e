"""Pictures that a trained model is to classify: any folder, however it is laid out, no labels."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipeline.data import _pixels, _reading, _scale
from pipeline.data._decoding import Target
from pipeline.data._listing import listed, shown
from pipeline.data._names import few
from pipeline.errors import UserError, looked_for


@dataclass(frozen=True)
class NewPictures:
    """The pictures of a folder, in the order of their names."""

    names: list[str]  # paths below the folder, as they can be printed
    images: NDArray[np.uint8]  # [m, side, side, c], mapped; also of files that cannot be read
    rows: NDArray[np.int64]  # of `images`, for each name
    skipped: str  # which files were left out and why, in a sentence; "" if none was
    far: int  # pictures whose pixels lie far outside those that the model was trained on
    beyond: int  # pictures with values darker or brighter than any that the scale knows
    unscaled: str  # what values of more than eight bits were taken for, if that is a guess

    def parts(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """The images, `size` at a time, in the order of the names."""
        for begin in range(0, len(self.rows), size):
            yield self.images[self.rows[begin : begin + size]]


@contextmanager
def opened(
    root: Path, side: int, channels: int, fit: str, scale: str, pixels: str = ""
) -> Iterator[NewPictures]:
    """Read all pictures below root, as `dataset: folder` reads those that it trains on.

    Args:
        root: the folder; hidden files are passed over.
        side: of the square images, pixels.
        channels: 1 or 3.
        fit: "crop" or "pad".
        scale: how values of more than eight bits become pixels, as `Dataset.scale` tells it in
            text; "": 16-bit values are divided by 257, others scaled file by file.
        pixels: range of the training images' pixels, as `Dataset.pixels` tells it; "": 0..255.

    Raises:
        UserError: no such folder, no such scale, or nothing in it can be read.
    """
    said = f"data_dir={root}"
    if not root.exists():
        raise UserError(f"{said} does not exist{looked_for(root)}; name a folder of pictures.")
    if not root.is_dir():
        raise UserError(f"{said} is a file; name the folder it lies in: data_dir={root.parent}")
    target = Target(side, channels, fit, _scale.from_text(scale))
    files = listed(root).files
    regular = [file for file in files if not file.reason]  # opening a pipe would wait for ever
    names, sizes = [file.name for file in regular], [file.size for file in regular]
    with TemporaryDirectory() as scratch:
        place = Path(scratch, "images")
        decoded = _reading.decode(root, names, sizes, target, place)
        left = [(file.name, file.reason) for file in files if file.reason]
        left += [(n, one.reason) for n, one in zip(names, decoded, strict=True) if one.reason]
        told = few([f"{name}: {reason}" for name, reason in left])
        rows = np.flatnonzero([not one.reason for one in decoded])
        if not rows.size:
            raise UserError(f"{said} holds no picture that can be read{told and f' ({told})'}.")
        images = np.memmap(place, np.uint8, "r", shape=(len(names), *target.shape))
        low, high = _pixels.from_text(pixels)
        yield NewPictures(
            [shown(names[row]) for row in rows],
            images,
            rows,
            f"{len(left):,} of {len(files):,} files left out ({told})" if left else "",
            sum(_pixels.far_beyond(images[row : row + 1], low, high) for row in rows),
            sum(target.scale.exceeded_by(one.span) for one in decoded),
            _scale.guessed(target.scale, [one.span for one in decoded if one.span]),
        )
