"""Checkpoint files: whole or not there, refused when damaged or foreign, and nothing but data."""

import errno
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from pipeline import progress
from pipeline.errors import RunFailure, UserError
from pipeline.training import checkpoints
from pipeline.training.checkpoints import Checkpoints

KEY = "this training"


@pytest.fixture
def notes(monkeypatch):
    """What is told."""
    told = []
    monkeypatch.setattr(progress, "note", told.append)
    return told


def saved(folder, *numbers):
    """A store with one checkpoint a number, of which the last two stay."""
    store = Checkpoints(folder, 0.0)
    for number in numbers:
        store.save({"key": KEY, "number": number}, {"values": np.full(1000, number, np.float32)})
    return store


def files(folder):
    return sorted(path for path in folder.iterdir() if path.suffix == ".npz")


def test_the_last_two_are_kept_and_the_last_comes_back_to_the_bit(tmp_path):
    store = saved(tmp_path / "a", 1, 2)
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    exact = {"third": 1 / 3, "not a number": float("nan"), "tiny": 5e-324}
    store.save({"key": KEY, **exact}, {"values": values, "none": np.zeros((0, 2), np.int64)})
    assert len(files(tmp_path / "a")) == 2
    held = Checkpoints(tmp_path / "a", 60.0).last(KEY)
    assert held.head["third"] == 1 / 3
    assert held.head["tiny"] == 5e-324
    assert np.isnan(held.head["not a number"])
    np.testing.assert_array_equal(held.arrays["values"], values)
    assert held.arrays["none"].shape == (0, 2)
    store.remove()
    assert not store.exist()
    assert store.last(KEY) is None


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    return bytes([*content[:3000], content[3000] ^ 1, *content[3001:]])


DAMAGES = [truncated, flipped, lambda content: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage, notes):
    store = saved(tmp_path, 1, 2)
    last = files(tmp_path)[-1]
    last.write_bytes(damage(last.read_bytes()))
    assert store.last(KEY).head["number"] == 1
    assert notes == [
        f"the checkpoint {last.name} is damaged (its checksum differs); the one before it is tried"
    ]
    saved(tmp_path, 3)
    assert [int(file.name[:6]) for file in files(tmp_path)] == [1, 2]
    assert store.last(KEY).head["number"] == 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_when_both_are_damaged_it_says_that_the_training_begins_anew(tmp_path, damage, notes):
    store = saved(tmp_path, 1, 2)
    for file in files(tmp_path):
        file.write_bytes(damage(file.read_bytes()))
    assert store.last(KEY) is None
    assert notes[-1] == "no checkpoint can be read: the training begins anew"
    assert len(notes) == 3


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("asked", ["read_bytes", "iterdir"])
def test_what_the_disk_does_not_give_is_named_and_kept(tmp_path, number, asked, monkeypatch, notes):
    store = saved(tmp_path, 1, 2)

    def refuse(path):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as refusing:
        refusing.setattr(type(tmp_path), asked, refuse)
        with pytest.raises(RunFailure) as told:
            store.last(KEY)
    named = files(tmp_path)[-1] if asked == "read_bytes" else tmp_path
    assert f"the checkpoint {named} cannot be read ({os.strerror(number)})" in str(told.value)
    assert not notes
    assert store.last(KEY).head["number"] == 2
    assert len(files(tmp_path)) == 2


def named_by_content(folder, content):
    made = folder / "made"
    made.write_bytes(content)
    made.rename(folder / f"000009-{checkpoints._digest(made)}.npz")


class Planted:
    """Runs a command when a pickle of it is read."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


def test_reading_one_runs_nothing_and_unpacks_nothing(tmp_path, monkeypatch, notes):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "store"
    store = saved(folder, 1)
    np.savez(tmp_path / "planted.npz", head=np.array([Planted()], dtype=object))
    named_by_content(folder, (tmp_path / "planted.npz").read_bytes())
    assert store.last(KEY).head["number"] == 1
    np.savez_compressed(tmp_path / "packed.npz", head=np.zeros(10**6, np.uint8))
    named_by_content(folder, (tmp_path / "packed.npz").read_bytes())
    assert store.last(KEY).head["number"] == 1
    named_by_content(folder, b"anything")
    assert store.last(KEY).head["number"] == 1
    assert [note.partition("is damaged (")[2][:10] for note in notes] == [
        "ValueError",
        "it is comp",
        "BadZipFile",
    ]
    assert not (tmp_path / "planted").exists()


def test_another_trainings_checkpoint_is_refused_in_one_line(tmp_path):
    store = saved(tmp_path, 1)
    with pytest.raises(UserError, match="is of another training") as told:
        store.last("another training")
    assert "\n" not in str(told.value)
    assert store.exist()


def test_a_full_or_closed_disk_is_told_once_and_ends_nothing(tmp_path, notes):
    (tmp_path / "file").write_text("in the way")
    saved(tmp_path / "file", 1, 2, 3)
    assert len(notes) == 1
    assert str(tmp_path / "file") in notes[0]


def test_writing_takes_no_more_than_its_share_of_the_time(tmp_path, monkeypatch):
    """By a clock of our own: writing takes 0.9 s of it, a checkpoint each 60 s would be 1.5 %."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    store = Checkpoints(tmp_path, 60.0)
    monkeypatch.setattr(store, "_write", lambda arrays: now.__setitem__(0, now[0] + 0.9))
    while now[0] < 10_000:
        now[0] += 0.5
        if store.due():
            store.save({}, {})
    assert 0.5 * checkpoints.SHARE < store.seconds / now[0] <= checkpoints.SHARE


def test_a_process_killed_while_it_writes_leaves_a_whole_checkpoint(tmp_path, notes):
    script = (
        "import sys, numpy as np; from pathlib import Path;"
        "from pipeline.training.checkpoints import Checkpoints;"
        "store = Checkpoints(Path(sys.argv[1]), 0.0); n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    store.save({'key': 'this training'}, {'n': np.full(500_000, n)})\n"
        "    print(n, flush=True)\n"
    )
    for attempt in range(4):
        command = [sys.executable, "-c", script, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        done = int(process.stdout.readline())
        time.sleep(0.037 * attempt)
        process.kill()
        done = int([str(done), *process.stdout.read().split()][-1])
        process.wait()
        held = Checkpoints(tmp_path, 0.0).last(KEY).arrays["n"]
        assert held[0] in (done, done + 1)
        assert (held == held[0]).all()
    assert not notes
