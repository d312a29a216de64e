"""What is kept comes back as it was, or not at all: splits, checkpoints, records of runs."""

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RunFailure, UserError
from pipeline.stages.manifest import PARTS, from_manifest, to_manifest
from pipeline.stages.split import split
from pipeline.tracking.spool import ABOUT, Spool
from pipeline.training.checkpoints import Checkpoints

UNKNOWN = -1


@st.composite
def labels(draw):
    """Some labels of 2 to 5 classes, each class known at least once."""
    classes = draw(st.integers(2, 5))
    more = draw(st.lists(st.integers(UNKNOWN, classes - 1), max_size=60))
    return np.array([*range(classes), *draw(st.permutations(more))], np.int64)


@given(
    labels(),
    st.integers(1, 5),
    st.one_of(st.none(), st.floats(0.01, 1)),
    st.one_of(st.none(), st.integers(1, 6)),
    st.floats(0, 0.9),
    st.integers(0, 99),
    st.booleans(),
)
def test_a_split_keeps_its_promises(known, n_test, frac, per_class, valid, seed, stratified):
    asked = {"label_frac": frac, "labels_per_class": per_class, "valid_frac": valid}
    try:
        made = split(known, n_test, split_seed=seed, stratified=stratified, **asked)
    except UserError:
        return
    parts = [made.labelled, made.unlabelled, made.valid]
    everything = np.concatenate(parts)
    assert sorted(everything) == list(range(len(known)))
    assert (known[made.labelled] != UNKNOWN).all()
    assert (known[made.valid] != UNKNOWN).all()
    assert set(known[made.labelled]) == set(known) - {UNKNOWN}
    assert list(made.test) == list(range(n_test))
    if per_class:
        chosen = np.concatenate([made.labelled, made.valid])
        assert (np.bincount(known[chosen]) == per_class).all()
    with tempfile.TemporaryDirectory() as place:
        names = [f"c{number}" for number in range(known.max() + 1)]
        file = Path(place, "manifest.parquet")
        to_manifest(made, known, names).to_parquet(file, index=False)
        again = from_manifest(file, known, n_test, names)
    for part in PARTS:
        np.testing.assert_array_equal(getattr(again, part), np.sort(getattr(made, part)))


@given(
    st.lists(st.integers(2, 9), min_size=2, max_size=5),
    st.integers(0, 20),
    st.integers(0, 99),
    st.data(),
)
def test_few_labels_lie_within_more(sizes, unknown, seed, data):
    known = np.repeat(np.arange(UNKNOWN, len(sizes)), (unknown, *sizes))
    known = np.random.default_rng(seed).permutation(known)
    n = data.draw(st.integers(1, min(sizes) - 1))
    few, more = (
        split(known, 1, label_frac=None, labels_per_class=k, valid_frac=0.0, split_seed=seed)
        for k in (n, n + 1)
    )
    assert set(few.labelled) < set(more.labelled)


@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=5), st.integers(0, 9), max_size=3),
    st.binary(max_size=300),
    st.data(),
)
def test_a_damaged_checkpoint_is_never_taken_for_another(head, content, data):
    arrays = {"weights": np.frombuffer(content, np.uint8), "step": np.array(7)}
    with tempfile.TemporaryDirectory() as place:
        kept = Checkpoints(Path(place), 0.0)
        kept.save({**head, "key": "mine", "number": 1}, arrays)
        kept.save({**head, "key": "mine", "number": 2}, arrays)
        file = max(Path(place).glob("0*.npz"))
        held = bytearray(file.read_bytes())
        if data.draw(st.booleans()):
            del held[data.draw(st.integers(0, len(held) - 1)) :]
        else:
            held[data.draw(st.integers(0, len(held) - 1))] ^= data.draw(st.integers(1, 255))
        file.write_bytes(bytes(held))
        found = Checkpoints(Path(place), 0.0).last("mine")
        assert found is not None
        assert found.head["number"] == 1  # the one before
        np.testing.assert_array_equal(found.arrays["weights"], arrays["weights"])


RECORDS = st.lists(
    st.tuples(st.sampled_from(["tags", "metrics"]), st.text(max_size=5), st.binary(max_size=9)),
    max_size=8,
)


def _write(content: bytes, files: Path) -> None:
    (files / "held").write_bytes(content)


@given(RECORDS, st.integers(0, 8), st.booleans())
def test_a_spool_gives_back_in_order_what_it_took(records, sent, torn):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "run-1")
        folder.mkdir()
        (folder / ABOUT).write_text("{}")
        first = Spool(folder, FileLock(folder / "lock"))
        for kind, text, content in records:
            first.put(kind, "run", {"text": text}, functools.partial(_write, content))
        for number in first.waiting()[:sent]:
            first.sent(number)
        if torn:  # killed while it wrote the next one
            (folder / "99").mkdir()
            (folder / ".99.json").write_text("{")
        again = Spool.opened(folder)
        assert again is not None
        found = [again.entry(number) for number in again.waiting()]
        told = [(e.kind, e.fields["text"], (e.files / "held").read_bytes()) for e in found]
        assert told == records[sent:]
        again.lock.release()


WHOLE = json.dumps({"kind": "end", "run": "r", "fields": {}}).encode()


@given(st.one_of(st.just(WHOLE), st.binary(max_size=40), st.binary(max_size=5).map(WHOLE.__add__)))
def test_a_record_of_any_bytes_is_whole_or_refused_in_one_line(content):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "1.json").write_bytes(content)
        spool = Spool.opened(folder)
        assert spool is not None
        if content.strip() == WHOLE:
            assert (spool.entry(1).number, spool.entry(1).kind) == (1, "end")
        else:
            with pytest.raises(RunFailure) as told:
                spool.entry(1)
            assert "\n" not in str(told.value)
        spool.lock.release()
