"""What the numbers of a label curve say, in sentences."""

import math
from collections.abc import Sequence
from decimal import Decimal

from experiments.curve.label_curve import Curve
from experiments.curve.labels_needed import Needed, Saved
from experiments.curve.rounds import Round
from experiments.curve.statistics import (
    ALPHA,
    CANNOT_TELL,
    HELPS,
    HURTS,
    LEAST_PAIRS,
    MOST_SEEDS,
    PAIRS_OF_A_SPREAD,
    Comparison,
    least_pairs,
)

ROUNDING = 1e-9  # a share that is 0 but for the arithmetic


def percent(share: float) -> str:
    """'0.84 %', '3.1 %', '46 %'; '–' if there is none."""
    if not math.isfinite(share):
        return "–"
    return f"{_of_100(share, _digits(share))} %"


def _digits(share: float) -> int:
    """Decimals that a percentage of this size deserves."""
    size = abs(share)
    return 0 if size >= 0.2 else 1 if size >= 0.02 else 2


def _of_100(share: float, digits: int) -> str:
    """Times 100 with so many decimals; with one digit where those would make a 0 of it."""
    text = f"{100 * share:z.{digits}f}"
    if float(text) == 0 and abs(share) > ROUNDING:
        return f"{Decimal(f'{100 * share:.1g}'):f}"
    return text


def goal(share: float) -> str:
    """A round number, or what a round one lacks to 100 %: '5 %', '1.5 %', '99.97 %'."""
    if share > 0.9:
        return f"{100 - float(f'{100 * (1 - share):.3g}'):g} %"
    return f"{100 * share:.3g} %"


def points(difference: float, spread: float) -> str:
    """Percentage points, with the digits that a spread of this size leaves."""
    return _of_100(difference, 1 if 100 * spread >= 1 else 2)


def number(n: float) -> str:
    """A number of labels as its interval deserves: two digits that are not zero, '12,000'."""
    if not math.isfinite(n):
        return "–"
    unit = 10 ** max(math.floor(math.log10(abs(n))) - 1, 0) if abs(n) >= 1 else 1
    return f"{round(n / unit) * unit:,.0f}"


def listed(items: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def difference(one: Comparison) -> str:
    """'1.9 points [0.8, 3.0]'; above 0 the method is better.

    An end that is not 0 is not shown as 0 where digits can help: the verdict rests on it.
    """
    spread = one.high - one.low
    if not math.isfinite(spread):
        return f"{points(one.centre, 0.0)} points"
    ends = [abs(end) for end in (one.low, one.high) if end]
    spread = 0.0 if min(ends, default=1.0) < 0.0005 else spread
    values = [points(each, spread) for each in (one.centre, one.low, one.high)]
    return f"{values[0]} points [{values[1]}, {values[2]}]"


def verdict(one: Comparison) -> str:
    """A verdict and, where there is none, what it needs."""
    if one.verdict != CANNOT_TELL:
        return one.verdict
    return f"{CANNOT_TELL}{';' if one.more is None else ','} {_lacking(one)}"


def _lacking(one: Comparison) -> str:
    """What a verdict lacks: seeds, a difference, or an interval beside 0."""
    if one.more is not None:
        rough = "about" if len(one.differences) >= PAIRS_OF_A_SPREAD else "at least"
        return f"needs {rough} {one.more} more seed{'s' * (one.more > 1)}"
    if not one.differences.any():
        return "no difference seen"
    if one.adjusted <= ALPHA:
        return "the test finds a difference, but its interval reaches 0"
    return f"if the difference is as seen, not with {MOST_SEEDS} more seeds either"


def verdicts(method: str, baseline: str, row: Sequence[Comparison]) -> str:
    """What one method does at all counts, in one sentence that is made of the numbers."""
    if not row:
        return f"{method} has no training on a seed and label count of {baseline}."
    said = []
    for word, better in ((HELPS, 1), (HURTS, -1)):
        held = [one for one in row if one.verdict == word]
        if held:
            most = max(held, key=lambda one: better * one.centre)
            where = listed([f"{one.n_labels:,}" for one in held])
            most_at = f"most at {most.n_labels:,}: " if len(held) > 1 else ""
            said.append(f"{word} at {where} labels ({most_at}{difference(most)})")
    open_ = [one for one in row if one.verdict == CANNOT_TELL]
    if open_:
        said.append(_untold(open_, len(row)))
    return f"Beside {baseline}, {method} {listed(said)}."


def _untold(row: Sequence[Comparison], counts: int) -> str:
    """The comparisons without a verdict; counts: of all of the method's."""
    named = listed([f"{one.n_labels:,}" for one in row])
    where = "any count" if len(row) == counts else f"{named} labels"
    if all(len(one.differences) < LEAST_PAIRS for one in row):
        most = max(len(one.differences) for one in row)
        least = least_pairs(counts)
        return (
            f"has too few seeds for a verdict at {where} ({most}, the least are {least}; "
            f"largest difference {difference(max(row, key=lambda one: abs(one.centre)))})"
        )
    sooner = min(row, key=lambda one: math.inf if one.more is None else one.more)
    chance = f"cannot be told from it at {where}"
    if sooner.more is None:
        sooner = max(row, key=lambda one: abs(one.centre))
    return f"{chance} (at {sooner.n_labels:,} labels {difference(sooner)}; {_lacking(sooner)})"


def labels_needed(found: Needed) -> str:
    """'about 420 labels [310, 640]', or why it is not told.

    Where the middle lies at the smallest count: 'at most about 81 labels, perhaps with 50 labels
    already', if the interval ends above it.
    """
    if found.refusal:
        if math.isinf(found.middle) and math.isfinite(found.low):
            return f"{found.refusal}; not before about {number(found.low)}"
        if not math.isfinite(found.middle):
            return found.refusal
        if math.isinf(found.high):
            return f"{found.refusal}; no upper end can be told yet"
        upto = f"at most about {number(found.high)} labels, "
        return f"{upto if round(found.high) > found.middle else ''}{found.refusal}"
    about, beyond = f"about {number(found.middle)} labels", ""
    if found.available is not None and found.middle > found.available:
        beyond = f"; more than the {found.available:,} images that there are"
    if math.isinf(found.high):
        return f"{about}, at least {number(found.low)}; no upper end can be told yet{beyond}"
    return f"{about} [{number(found.low)}, {number(found.high)}]{beyond}"


def labels_saved(found: Saved) -> str:
    """'saves about 320 labels [270, 350]', 'saves at least 270 labels', or why it is not told.

    Where the interval holds 0, both ends: 'may cost labels up to 170 or save up to 300'.
    """
    if found.refusal:
        return f"not told: {found.refusal}"
    if math.isnan(found.middle):
        return _bound(found.low, "least", "most") or _bound(found.high, "most", "least")
    if found.low < 0 < found.high:
        costs = f" up to {number(-found.low)}" if math.isfinite(found.low) else ""
        saves = f" up to {number(found.high)}" if math.isfinite(found.high) else ""
        return f"may cost labels{costs} or save{saves or ' some'}"
    behind = found.middle < 0
    values = [-found.middle, -found.high, -found.low] if behind else list(_values(found))
    return f"{'costs' if behind else 'saves'} about {number(values[0])} labels {_ends(*values[1:])}"


def _bound(end: float, saved: str, lost: str) -> str:
    """One end of what is saved; "" if there is none."""
    if math.isinf(end):
        return ""
    verb, which = ("costs", lost) if end < 0 else ("saves", saved)
    return f"{verb} at {which} {number(abs(end))} labels"


def _values(found: Saved) -> tuple[float, float, float]:
    return found.middle, found.low, found.high


def _ends(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "(no interval)"
    if math.isinf(high):
        return f"(at least {number(low)})"
    if math.isinf(low):
        return f"(at most {number(high)})"
    return f"[{number(low)}, {number(high)}]"


def next_rounds(method: str, found: Sequence[Round], curve: Curve) -> str:
    """What to label next, and the error to expect; "" if nothing is forecast."""
    if not found:
        return ""
    now = f"{curve.counts[-1]:,.0f} labels give {percent(float(curve.centres[-1]))}"
    steps = [f"{one.n_labels:,} labels: {interval(*_expected(one))}" for one in found]
    return f"{method}: {now}; expected with {'; with '.join(steps)}."


def _expected(one: Round) -> tuple[float, float, float]:
    return one.expected, one.low, one.high


def interval(middle: float, low: float, high: float) -> str:
    """'3.1 % [2.8, 3.5]'; without its ends if there are none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return percent(middle)
    values = _alike(middle, low, high)
    return f"{values[0]} % [{values[1]}, {values[2]}]"


def over_seeds(middle: float, low: float, high: float, seeds: Sequence[float]) -> str:
    """The interval; of too few seeds for one, what they span: '3.1 % (3 seeds: 2.8 to 3.5)'."""
    if math.isfinite(low) or len(seeds) < 2:
        return interval(middle, low, high)
    values = _alike(middle, min(seeds), max(seeds))
    return f"{values[0]} % ({len(seeds)} seeds: {values[1]} to {values[2]})"


def _alike(middle: float, low: float, high: float) -> list[str]:
    """The three in percent, with the digits that the middle deserves."""
    return [_of_100(each, _digits(middle)) for each in (middle, low, high)]
