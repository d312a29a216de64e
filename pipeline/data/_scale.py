"""How values of more than eight bits become 0..255: on one scale for all pictures of a folder.

- White of 16-bit pictures is the smallest of 255, 511, … 65,535 that none exceeds: cameras store
  10, 12 or 14 bits in 16.
- Other whole numbers in 0..255 are taken as they are; floats in 0..1 are multiplied by 255; those
  in 0..255 that reach 128 are taken as they are. Anything else is stretched from the lowest value
  of all these pictures to the highest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median_high
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data._finding import Finding
from pipeline.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

SIXTEEN_BITS = 65535
DEEP = ("I", "F")  # how Pillow's modes of more than eight bits begin
BRIGHT = 128  # floats of a folder that all stay below it do not count in 0..255
USUAL = (None, (0.0, 1.0), (0.0, 255.0))


class Span(NamedTuple):
    """Lowest and highest finite value of a picture of more than eight bits."""

    kind: Literal["sixteen", "whole", "floats"]
    low: float
    high: float


class Scale(NamedTuple):
    """What becomes 0 and what 255; None where no picture of the folder has said it."""

    sixteen: int = SIXTEEN_BITS  # white of 16-bit pictures, whose black is 0
    whole: tuple[float, float] | None = None  # black and white of other whole numbers
    floats: tuple[float, float] | None = None

    def ends(self, span: Span) -> tuple[float, float]:
        """Black and white of a picture; where nothing is known its own span decides."""
        if span.kind == "sixteen":
            return 0.0, float(self.sixteen)
        return (self.whole if span.kind == "whole" else self.floats) or _ends(span, 0)

    def exceeded_by(self, span: Span | None) -> bool:
        """Whether a picture has values beyond black or white; of eight bits, None, none has."""
        if span is None:
            return False
        low, high = self.ends(span)
        return span.low < low or span.high > high

    def as_text(self) -> str:
        """For `from_text`; "" where no picture has said anything."""
        return json.dumps(self._asdict()) if self != Scale() else ""


def from_text(text: str) -> Scale:
    """The scale that `as_text` has written; raises UserError for another text."""
    if not text:
        return Scale()
    try:
        sixteen, whole, floats = (json.loads(text)[name] for name in Scale._fields)
        ends = [pair and (float(pair[0]), float(pair[1])) for pair in (whole, floats)]
        return Scale(int(sixteen), *ends)
    except (ValueError, TypeError, LookupError, OverflowError):
        raise UserError(f"{text[:80]!a} is no scale of grey values") from None


def span_of(picture: Image.Image) -> Span | None:
    """The span of a picture, None if it has eight bits; reads its pixels.

    Raises ValueError if no pixel is a finite number.
    """
    if not picture.mode.startswith(DEEP):
        return None
    values = np.asarray(picture)
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("no pixel is a finite number")
    return Span(_kind(picture), float(finite.min()), float(finite.max()))


def common(spans: Sequence[Span]) -> Scale:
    """One scale for pictures with these spans."""
    joined = {}
    for kind in Scale._fields:
        if some := [span for span in spans if span.kind == kind]:
            low, high = min(span.low for span in some), max(span.high for span in some)
            joined[kind] = Span(some[0].kind, low, high)
    whole, floats = (
        _ends(joined[kind], bright) if kind in joined else None
        for kind, bright in (("whole", 0), ("floats", BRIGHT))
    )
    highest = joined["sixteen"].high if "sixteen" in joined else SIXTEEN_BITS
    return Scale(next(2**bits - 1 for bits in range(8, 17) if highest < 2**bits), whole, floats)


def eight_bits(picture: Image.Image, scale: Scale) -> NDArray[np.uint8]:
    """A picture of more than eight bits as uint8 [h, w]; raises ValueError as `span_of` does."""
    span = span_of(picture)
    assert span is not None
    low, high = scale.ends(span)
    numbers = np.asarray(picture).astype(np.float64)
    numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    numbers = (numbers - low) * (255 / (high - low) if high > low else 0)
    eight: NDArray[np.uint8] = np.rint(numbers).clip(0, 255).astype(np.uint8)
    return eight


def told(spans: Sequence[Span]) -> Finding | None:
    """Told where the scale is a guess."""
    scale = common(spans)
    facts = []
    if scale.sixteen != SIXTEEN_BITS:
        highest = max(span.high for span in spans if span.kind == "sixteen")
        facts.append(f"16-bit values reach {highest:,.0f}, so {scale.sixteen:,} is white")
    if hot := _hot(spans, scale.sixteen):
        facts.append(hot)
    for name, ends in (("other whole numbers", scale.whole), ("floats", scale.floats)):
        if ends not in USUAL:
            facts.append(f"{name}: {ends[0]:g} is black and {ends[1]:g} is white")
    if not facts:
        return None
    return Finding(
        "deep_pictures",
        len(spans),
        f"{len(spans):,} pictures of more than 8 bits are read on one scale ({'; '.join(facts)}); "
        "store them with 8 bits if you meant another",
    )


def _hot(spans: Sequence[Span], white: int) -> str:
    """What to say if half of the 16-bit pictures need two bits fewer than the brightest."""
    highs = [span.high for span in spans if span.kind == "sixteen"]
    if not highs or 4 * (median_high(highs) + 1) > white + 1:
        return ""
    return (
        f"half of the 16-bit pictures reach {median_high(highs):,.0f} at most and {white:,} is "
        "white, so these are dark: faulty bright pixels in a few pictures would do that"
    )


def guessed(scale: Scale, spans: Sequence[Span]) -> str:
    """What pictures of more than eight bits were taken for where the scale knows none; "" else."""
    dark = [span.high for span in spans if span.kind == "sixteen"]
    if scale.sixteen == SIXTEEN_BITS and dark and max(dark) <= SIXTEEN_BITS / 2:
        return (
            f"16-bit values reach {max(dark):,.0f} only, and {SIXTEEN_BITS:,} is white: the model "
            "knows no other scale. If these pictures are too dark, store them with 8 bits"
        )
    own = [span for span in spans if span.kind != "sixteen" and not getattr(scale, span.kind)]
    alone = sum(_ends(span, 0) not in USUAL for span in own)
    if not alone:
        return ""
    return (
        f"{alone:,} of these pictures have values that are neither in 0..1 nor in 0..255, and the "
        "model knows no scale for them: each was stretched by itself. Store them with 8 bits"
    )


def _kind(picture: Image.Image) -> Literal["sixteen", "whole", "floats"]:
    """Pillow brings a PGM of 16 bits to 0..65,535 in the mode of 32 bits."""
    if picture.mode.startswith("I;16") or (picture.mode, picture.format) == ("I", "PPM"):
        return "sixteen"
    return "floats" if picture.mode.startswith("F") else "whole"


def _ends(span: Span, bright: int) -> tuple[float, float]:
    """Black and white of whole numbers or floats; those in 0..255 must reach `bright`."""
    if span.kind == "floats" and span.low >= 0 and span.high <= 1:
        return 0.0, 1.0
    if span.low >= 0 and bright <= span.high <= 255:
        return 0.0, 255.0
    return span.low, span.high
