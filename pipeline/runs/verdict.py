"""Whether the images without labels have helped: what a run says first, in a word and in words.

From the paired interval of the errors of the supervised baseline and of the method: on the test
images, and on the validation images, if labels were kept for those, which costs no test label.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.figures.style import counted
from pipeline.measure import classification

TAG = "ssgan.verdict"
MOST_DIGITS = 4
HELPS, CANNOT_TELL, HURTS = "helps", "cannot tell", "hurts"
TEST, VALID = "", "valid/"  # what the metrics' names begin with


class Lift(NamedTuple):
    """The baseline's error minus the method's, and its 95 % interval; in [-1, 1]."""

    value: float
    low: float
    high: float

    @property
    def digits(self) -> int:
        """Of its values in points, so many that none that is not 0 is shown as 0; 4 at most.

        Verdicts rest on the ends' distance from 0.
        """
        fewest = 1 if self.high - self.low >= 0.01 else 2
        enough = (
            d for d in range(fewest, MOST_DIGITS) if all(round(100 * v, d) for v in self if v)
        )
        return next(enough, MOST_DIGITS)

    @property
    def word(self) -> str:
        """What the interval says."""
        return HELPS if self.low > 0 else HURTS if self.high < 0 else CANNOT_TELL


def metrics(
    baseline: NDArray[np.bool_], method: NDArray[np.bool_], part: str = TEST
) -> dict[str, float]:
    """The difference of two error rates and its interval, named as in MLflow.

    baseline, method: bool [n], where each is wrong on the same images; nothing comes of none.
    """
    if not len(method):
        return {}
    lift = float(np.mean(baseline) - np.mean(method))
    low, high = classification.paired_difference(baseline, method)
    return {f"{part}lift": lift, f"{part}lift_low": low, f"{part}lift_high": high}


def word(known: Mapping[str, float]) -> str:
    """The verdict of a run with these metrics: by the test images, or else by the validation ones.

    "" if there is nothing to compare.
    """
    return next((lift.word for part in (TEST, VALID) if (lift := _lift(known, part))), "")


def sentences(known: Mapping[str, float], method: str, n_test: int, n_valid: int) -> list[str]:
    """The verdict in words; what the validation labels say too, if the method is behind on them."""
    test, valid = _lift(known, TEST), _lift(known, VALID)
    said = [_sentence(test, method, counted(n_test, "test image"))] if test else []
    if valid and (not test or valid.value < 0):
        said.append(_sentence(valid, method, counted(n_valid, "validation image")))
    return said


def _lift(known: Mapping[str, float], part: str) -> Lift | None:
    values = [known.get(f"{part}lift{end}", math.nan) for end in ("", "_low", "_high")]
    return None if any(map(math.isnan, values)) else Lift(*values)


def _sentence(lift: Lift, method: str, images: str) -> str:
    behind = lift.value < 0
    low, high = (-lift.high, -lift.low) if behind else (lift.low, lift.high)
    digits = lift.digits
    points = f"{100 * abs(lift.value):.{digits}f} points"
    interval = f"[{100 * low:z.{digits}f}, {100 * high:z.{digits}f}]"
    if lift.word == HURTS:
        return (
            f"Semi-supervision HURT: the supervised baseline is better by {points} {interval} on "
            f"{images}; for these images use --method supervised, or predict with --baseline true."
        )
    if lift.word == HELPS:
        return (
            f"Semi-supervision helped: {method} is better than the supervised baseline by {points} "
            f"{interval} on {images}."
        )
    how = f"{points} {'worse' if behind else 'better'}" if lift.value else "no better and no worse"
    return (
        f"No difference can be told: {method} is {how} {interval} than the supervised baseline on "
        f"{images}, which may be chance."
    )
