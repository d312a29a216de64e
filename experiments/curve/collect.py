"""Finished runs → the table of cells: one row a training."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.curve.cell import N_TEST, NAMED
from experiments.curve.cell import SECONDS as SECONDS_METRIC
from experiments.curve.grid import ELSEWHERE
from experiments.curve.settings import CEILING, THEIRS
from experiments.curve.table import ERROR, METHOD, N_LABELS, REAL, RUN_ID, SAMPLES, SECONDS, SEED
from experiments.curve.table import N_TEST as N_TEST_COLUMN
from pipeline import tracking
from pipeline.config import step_images
from pipeline.errors import UserError
from pipeline.runs.resume import DIGEST, MANIFEST
from pipeline.runs.shown import COMPARED, DRAWN
from pipeline.tracking import Found

DATASET, DATA_DIGEST, CODE = "dataset", "digest", "code"  # columns beside those of `table`
CODE_TAG = "ssgan.code"
TEST_ERROR = "test/error"
SAMPLE_SHEET = "figures/samples.png"
# Parameters that differ from run to run of one method, and those that do from count to count.
VARYING = ELSEWHERE | {"dataset", "method", "seed", "split_seed", "split_file"}
VARYING |= {"label_frac", "labels_per_class"}
BY_LABELS = set(step_images.KEYS)
SHOWN = 4  # values of a key that a sentence names


def table(runs: Sequence[Found]) -> pd.DataFrame:
    """The finished runs that measured a test error, a row each, the oldest first.

    Columns: those of `table.py`, dataset, digest (of the data), code (its digest).
    """
    rows = [_row(run) for run in runs if run.status == "FINISHED" and TEST_ERROR in run.metrics]
    names = [METHOD, N_LABELS, SEED, ERROR, N_TEST_COLUMN]
    names += [*SAMPLES, *REAL.values(), SECONDS, RUN_ID]
    frame = pd.DataFrame(rows, columns=[*names, DATASET, DATA_DIGEST, CODE])
    return frame.astype({N_LABELS: np.int64, SEED: np.int64, N_TEST_COLUMN: np.int64})


def _row(run: Found) -> dict[str, object]:
    metrics, params = run.metrics, run.params
    samples = {key: metrics.get(key, float("nan")) for key in (*SAMPLES, *REAL.values())}
    return {
        METHOD: _method(run),
        N_LABELS: int(metrics.get("n_labels", 0)),
        SEED: int(params.get("seed", 0)),
        ERROR: metrics[TEST_ERROR],
        N_TEST_COLUMN: int(metrics.get(N_TEST, 0)),
        **samples,
        SECONDS: metrics.get(SECONDS_METRIC, float("nan")),
        RUN_ID: run.id,
        DATASET: params.get("dataset", ""),
        DATA_DIGEST: run.tags.get(DIGEST, ""),
        CODE: run.tags.get(CODE_TAG, ""),
    }


def _method(run: Found) -> str:
    return run.tags.get(NAMED) or run.params.get("method", "")


def of_any(runs: Sequence[Found]) -> tuple[pd.DataFrame, int, list[str], list[str]]:
    """The table of any runs, their training images without a label, in words what is left out, and
    in words which settings differ among them.

    Pairs of split_seed and seed are numbered where the two differ. Of runs that agree in method,
    labels and pair the newest counts.

    Raises:
        UserError: no run measured a test error, or the runs are of several data sets.
    """
    frame, words = table(runs), []
    if frame.empty:
        raise UserError(
            f"filter: {len(runs)} finished runs, but none measured a test error; choose others."
        )
    if frame[DATA_DIGEST].nunique() > 1:
        found = ", ".join(f"{name} {digest}" for name, digest in _data_sets(frame))
        raise UserError(
            f"filter: the runs are of several data sets ({found}), which no curve compares; add "
            f"tags.`{DIGEST}` = '<digest>' to it."
        )
    if without := len(runs) - len(frame):
        words.append(f"{without} finished runs measured no test error and are left out.")
    of_run = {run.id: run.params for run in runs}
    pairs = [
        (int(of_run[i].get("split_seed", 0)), int(of_run[i].get("seed", 0))) for i in frame[RUN_ID]
    ]
    if len({split for split, _ in pairs}) > 1 and any(split != seed for split, seed in pairs):
        numbers = {pair: number for number, pair in enumerate(sorted(set(pairs)))}
        frame[SEED] = [numbers[pair] for pair in pairs]
    kept = frame.drop_duplicates([METHOD, N_LABELS, SEED], keep="last")
    if again := len(frame) - len(kept):
        words.append(
            f"{again} runs were repeated with the same method, labels and seeds (perhaps with "
            "other settings); of each the newest counts."
        )
    kept = kept.reset_index(drop=True)
    others = besides_ceiling(kept)
    n_test, n_unlabelled = sizes(str(others[RUN_ID].iloc[int(others[N_LABELS].argmax())]))
    differ = differing([run for run in runs if run.id in set(kept[RUN_ID])])
    return kept.assign(**{N_TEST_COLUMN: n_test}), n_unlabelled, words, differ


def differing(runs: Sequence[Found]) -> list[str]:
    """A sentence for each setting in which one method's runs, or all that must agree, differ."""
    said = []
    by_method: dict[str, list[Found]] = {}
    for run in runs:
        by_method.setdefault(_method(run), []).append(run)
    for method, own in sorted(by_method.items()):
        keys = {key for run in own for key in run.params} - VARYING - DRAWN
        found = _several(own, sorted(keys - BY_LABELS))
        for n_labels in sorted({run.metrics.get(N_LABELS, 0) for run in own}):
            at = [run for run in own if run.metrics.get(N_LABELS, 0) == n_labels]
            found += [each for each in _several(at, sorted(BY_LABELS)) if each not in found]
        said += [f"The trainings of {method} differ in {each}." for each in found]
    said += [f"The trainings differ in {each}." for each in _several(runs, sorted(DRAWN))]
    ours = [run for run in runs if _method(run) not in THEIRS]
    said += [
        f"The methods differ in {each}: that may be what tells them apart."
        for each in _several(ours, ["backbone"])
        if not any(each in sentence for sentence in said)
    ]
    return [*said, *_label_sets(runs), *_draws(runs)]


def _draws(runs: Sequence[Found]) -> list[str]:
    """A sentence if the seeds of some method and count had fewer draws of labels than seeds."""
    seeds: dict[tuple[str, object], set[object]] = {}
    draws: dict[tuple[str, object], set[object]] = {}
    for run in runs:
        at, split = (_method(run), run.metrics.get(N_LABELS, 0)), run.params.get("split_seed")
        if _method(run) == CEILING or split is None:
            continue
        seeds.setdefault(at, set()).add((run.params.get("seed"), split))
        draws.setdefault(at, set()).add(run.params.get("split_file") or split)
    fewer = [at for at, found in seeds.items() if len(draws[at]) < len(found)]
    if not fewer:
        return []
    worst = min(fewer, key=lambda at: len(draws[at]) / len(seeds[at]))
    k, n = len(draws[worst]), len(seeds[worst])
    times = "once" if k == 1 else f"{k} times"
    return [
        f"The labels were drawn {times} for {n} seeds ({len(fewer)} of {len(seeds)} pairs of "
        "method and label count): intervals and verdicts do not hold the chance of which labels; "
        "give each seed a split_seed of its own."
    ]


def _label_sets(runs: Sequence[Found]) -> list[str]:
    """A sentence if runs of one count and pair of seeds have not the same labels.

    Looked up only where they were chosen by several rules, which may come to the same.
    """
    by_pair: dict[tuple[object, ...], list[Found]] = {}
    for run in runs:
        pair = (run.metrics.get(N_LABELS, 0), run.params.get("split_seed"), run.params.get("seed"))
        if _method(run) != CEILING:
            by_pair.setdefault(pair, []).append(run)
    rules = [{_rule(run): run for run in of_pair} for of_pair in by_pair.values()]
    differ = [
        one
        for one in rules
        if len(one) > 1 and len({_labelled(run.id) for run in one.values()}) > 1
    ]
    if not differ:
        return []
    named = ", ".join(sorted(set().union(*differ))[:SHOWN])
    return [
        f"At {len(differ)} of {len(by_pair)} pairs of label count and seeds not all trainings had "
        f"the same labels ({named}); they are compared seed by seed all the same."
    ]


def _rule(run: Found) -> str:
    """What chose a run's labels, beside its seed and their number."""
    if "split_file" in run.params:
        return f"split_file {run.params['split_file']}"
    return "labels_per_class" if "labels_per_class" in run.params else "label_frac"


def _labelled(run_id: str) -> frozenset[int]:
    """The training images that a run learned from with their label."""
    manifest = _manifest(run_id)
    return frozenset(manifest.loc[manifest["part"] == "labelled", "index"].tolist())


def _several(runs: Sequence[Found], keys: Sequence[str]) -> list[str]:
    """The keys of which runs have several values, with these."""
    found = []
    for key in keys:
        values = {run.params.get(key, "none" if key in COMPARED else "its default") for run in runs}
        if len(values) > 1:
            found.append(f"{key} ({', '.join(sorted(values)[:SHOWN])})")
    return found


def besides_ceiling(frame: pd.DataFrame) -> pd.DataFrame:
    """The trainings that had not every label there is; all of them if there are no others."""
    others = frame[frame[METHOD] != CEILING]
    return frame if others.empty else others


def _data_sets(frame: pd.DataFrame) -> list[tuple[str, str]]:
    named = frame[[DATASET, DATA_DIGEST]].drop_duplicates()
    return [(str(name), str(digest)) for name, digest in named.itertuples(index=False)]


def sizes(run_id: str) -> tuple[int, int]:
    """How many test images, and how many training images without a label, a run has had."""
    parts = _manifest(run_id)["part"]
    return int((parts == "test").sum()), int((parts == "unlabelled").sum())


def _manifest(run_id: str) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        return pd.read_parquet(tracking.fetch(run_id, MANIFEST, Path(folder)))


def sheets(frame: pd.DataFrame) -> dict[tuple[str, int], bytes]:
    """A sheet of samples (PNG) of the first seed of each method and count that has samples."""
    found: dict[tuple[str, int], bytes] = {}
    drawn = frame[frame[SAMPLES[0]].notna() | frame[SAMPLES[1]].notna()].sort_values(SEED)
    firsts = drawn.drop_duplicates([METHOD, N_LABELS])
    for method, count, run_id in zip(firsts[METHOD], firsts[N_LABELS], firsts[RUN_ID], strict=True):
        with tempfile.TemporaryDirectory() as folder:
            file = tracking.fetch(str(run_id), SAMPLE_SHEET, Path(folder))
            found[str(method), int(count)] = file.read_bytes()
    return found
