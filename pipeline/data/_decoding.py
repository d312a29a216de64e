"""One picture file → one square uint8 image. Runs in worker processes: NumPy and Pillow alone.

- A picture is what its content says, whatever its suffix: PNG, JPEG, WebP, BMP, GIF (its first
  frame), TIFF (its first page), PGM, PPM. It is turned as its EXIF orientation says.
- Transparent pixels are laid over white.
- Values of more than eight bits are brought to 0..255 on one scale for all, see `_scale`.
- `crop` keeps the centred square; `pad` keeps all of the picture and fills up with the mean
  colour of its outermost pixels.
"""

import hashlib
import io
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from pipeline.data import _scale
from pipeline.data._scale import Scale, Span

# Named here, a format needs no search through all of Pillow's, some of which start programs.
_PLUGINS = (
    PngImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    WebPImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    TiffImagePlugin,
    PpmImagePlugin,
)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")  # how telephones' pictures begin
AT_ONCE = 1 << 20  # bytes of a file that are held in memory
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112


class Look(NamedTuple):
    """What a file is, before its pixels are decoded."""

    digest: bytes = b""  # of its content, 16 bytes
    width: int = 0
    height: int = 0
    format: str = ""
    may_be_coloured: bool = False
    reason: str = ""  # why it cannot be used, "" if it can so far
    span: Span | None = None  # of its values, if they have more than eight bits


class Decoded(NamedTuple):
    """What came of a picture, besides the pixels."""

    width: int = 0  # of the picture as it is shown
    height: int = 0
    grey: bool = True  # all channels are equal
    reason: str = ""
    span: Span | None = None  # of its values, if it has more than eight bits


class Target(NamedTuple):
    """What pictures become."""

    side: int  # pixels
    channels: int  # 1 or 3
    fit: str  # "crop" or "pad"
    scale: Scale = Scale()  # of values of more than eight bits

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.side, self.side, self.channels


def begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    """Wait for the end of the parent, and end too."""
    parent.join()
    os._exit(1)


def look(root: str, names: Sequence[str]) -> list[Look]:
    """Look at files below root; one that cannot be used has a reason and stops nothing."""
    with _quiet():
        return [_look(os.path.join(root, name)) for name in names]  # noqa: PTH118


def decode(
    root: str, names: Sequence[str], target: Target, scratch: str, row: int
) -> list[Decoded]:
    """Decode files below root into rows row, row + 1, … of the file `scratch`, uint8 [n, h, w, c].

    Raises OSError if the images cannot be written; a picture that cannot be decoded has a reason.
    """
    images = np.zeros((len(names), *target.shape), np.uint8)
    decoded = []
    with _quiet():
        for image, name in zip(images, names, strict=True):
            decoded.append(_decode(os.path.join(root, name), target, image))  # noqa: PTH118
    with open(scratch, "r+b") as file:  # noqa: PTH123
        file.seek(row * images[0].nbytes)
        file.write(images.data)
    return decoded


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of damaged metadata; a picture far too large is an error, and never decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _look(path: str) -> Look:
    """Digest, size and format of a file."""
    digest = content = b""
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            content = file.read(AT_ONCE)
            sha = hashlib.sha256(content)
            if len(content) == AT_ONCE:
                while more := file.read(AT_ONCE):
                    sha.update(more)
            digest = sha.digest()[:16]
            if not content:
                return Look(digest, reason="empty file")
            file.seek(0)
            source = file if len(content) == AT_ONCE else io.BytesIO(content)
            with Image.open(source, formats=FORMATS) as picture:
                coloured = picture.mode not in GREY
                kind = picture.format or ""
                return Look(digest, *picture.size, kind, coloured, span=_scale.span_of(picture))
    except Exception as error:  # damaged files make Pillow raise nearly anything
        if isinstance(error, UnidentifiedImageError) and content[4:12] in HEIC:
            return Look(digest, reason="HEIC or AVIF, which is not read; convert it to JPEG")
        return Look(digest, reason=_reason(error))


def _decode(path: str, target: Target, image: NDArray[np.uint8]) -> Decoded:
    """Decode one file into image, uint8 [h, w, c]."""
    try:
        # Of a path, Pillow would map some files, with their sides swapped where they are turned.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as picture:  # noqa: PTH123
            width, height = picture.size
            # JPEG can be decoded at an eighth to a half of its size; twice the side is kept.
            picture.draft(None, (2 * target.side, 2 * target.side))
            picture.load()
            turned, swapped = _turned(picture)
            if swapped:
                width, height = height, width
            span = _scale.span_of(turned)
            square = _square(_eight_bits(turned, target), target)
    except Exception as error:
        return Decoded(reason=_reason(error))
    pixels = np.asarray(square).reshape(target.shape)
    image[:] = pixels
    grey = target.channels == 1 or bool((pixels == pixels[..., :1]).all())
    return Decoded(width, height, grey, span=span)


def _turned(picture: Image.Image) -> tuple[Image.Image, bool]:
    """The picture as its orientation says, and whether width and height change places.

    With damaged metadata it stays as it is.
    """
    try:
        orientation = picture.getexif().get(ORIENTATION, 1)
        if orientation == 1:
            return picture, False
        return ImageOps.exif_transpose(picture), orientation in TURNED
    except Exception:
        return picture, False


def _eight_bits(picture: Image.Image, target: Target) -> Image.Image:
    """The picture in mode L (one channel) or RGB (three), transparency over white."""
    mode = "L" if target.channels == 1 else "RGB"
    if picture.mode.startswith(_scale.DEEP):
        return Image.fromarray(_scale.eight_bits(picture, target.scale)).convert(mode)
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB").convert(mode)
    return picture if picture.mode == mode else picture.convert(mode)


def _square(picture: Image.Image, target: Target) -> Image.Image:
    """The picture as a square of the target's side."""
    width, height = picture.size
    side = target.side
    if width == height == side:
        return picture
    lanczos = Image.Resampling.LANCZOS
    if target.fit == "crop":
        shorter = min(width, height)
        left, top = (width - shorter) // 2, (height - shorter) // 2
        box = (left, top, left + shorter, top + shorter)
        return picture.resize((side, side), lanczos, box, reducing_gap=3.0)
    longer = max(width, height)
    size = max(1, round(width * side / longer)), max(1, round(height * side / longer))
    small = picture.resize(size, lanczos, reducing_gap=3.0)
    canvas = Image.new(small.mode, (side, side), _edge_colour(np.asarray(small)))
    canvas.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return canvas


def _edge_colour(pixels: NDArray[np.uint8]) -> int | tuple[int, ...]:
    """Mean of the outermost pixels of an image, uint8 [h, w] or [h, w, 3]."""
    edges = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    mean = np.rint(np.concatenate(edges).mean(axis=0)).astype(int)
    return int(mean) if mean.ndim == 0 else tuple(mean.tolist())


def _reason(error: Exception) -> str:
    """Why a file cannot be used, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a known format, or its beginning is damaged"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, MemoryError):
        return "does not fit into memory"
    said = str(error).partition("\n")[0][:120]
    return f"damaged: {said or type(error).__name__}"
