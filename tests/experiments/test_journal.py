"""A journal file that a crash has torn is mended; one damaged elsewhere is named by line."""

import subprocess
import sys

import optuna
import pytest

from experiments.search.storage import open_storage
from pipeline.errors import UserError

TRIALS = 3


@pytest.fixture
def journal(tmp_path):
    """A study of three finished trials."""
    path = tmp_path / "studies" / "journal.log"
    study = optuna.create_study(study_name="s", storage=open_storage(str(path)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=TRIALS)
    return path


def trials(path):
    study = optuna.load_study(study_name="s", storage=open_storage(str(path)))
    return [trial for trial in study.trials if trial.state.is_finished()]


def go_on(path):
    study = optuna.load_study(study_name="s", storage=open_storage(str(path)))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_torn_last_line_is_cut_off_and_the_study_goes_on(journal, capsys, kept):
    *whole, last = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(whole) + last[:kept])
    assert len(trials(journal)) == TRIALS - 1  # the line said that the last one is finished
    said = capsys.readouterr().err
    assert "the last line was torn" in said
    assert said.count("\n") == 1
    assert journal.read_bytes() == b"".join(whole)
    go_on(journal)
    assert len(trials(journal)) == TRIALS
    assert capsys.readouterr().err == ""


def test_zeros_that_a_full_disk_leaves_are_cut_off(journal, capsys):
    whole = journal.read_bytes()
    journal.write_bytes(whole + b"\0" * 200_000)
    assert len(trials(journal)) == TRIALS
    assert "200000 bytes" in capsys.readouterr().err
    assert journal.read_bytes() == whole


def test_damage_elsewhere_is_named_by_line_and_nothing_is_changed(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = b"\0\0\0 not an entry\n"
    journal.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"line 4 is damaged .*backup"):
        open_storage(str(journal))
    assert journal.read_bytes() == b"".join(lines)


def test_a_file_that_is_no_journal_is_told(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("[1, 2]\n[3]\n")
    with pytest.raises(UserError, match="line 1 is damaged"):
        open_storage(str(path))
    assert path.read_text() == "[1, 2]\n[3]\n"  # not ours to mend


def test_an_empty_or_new_journal_is_whole(tmp_path, capsys):
    (tmp_path / "empty.log").touch()
    for name in ("empty.log", "new.log"):
        open_storage(str(tmp_path / name))
    assert capsys.readouterr().err == ""


FULL = """
import resource, signal, sys
from optuna.trial import TrialState
from experiments.search.storage import open_storage
path = sys.argv[1]
storage = open_storage(path)
study = storage.get_study_id_from_name("s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = len(open(path, "rb").read())
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    storage.set_study_user_attr(study, "note", "x" * 100)
except OSError:
    print("no room")
assert len(open(path, "rb").read()) == size
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
storage.set_study_user_attr(study, "note", "room again")
"""


def test_a_disk_that_is_full_for_a_moment_leaves_whole_lines(journal, capsys):
    other = open_storage(str(journal))  # at work all the while
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(journal)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "no room\n"), done.stderr
    study = other.get_study_id_from_name("s")
    assert other.get_study_user_attrs(study) == {"note": "room again"}
    assert len(trials(journal)) == TRIALS
    assert capsys.readouterr().err == ""


def test_a_line_that_a_killed_process_has_torn_is_cut_off_by_the_next_that_writes(journal):
    storage = open_storage(str(journal))
    study = storage.get_study_id_from_name("s")
    with journal.open("ab") as file:
        file.write(b'{"op_code":8,"worker')
    storage.set_study_user_attr(study, "note", "whole")
    assert open_storage(str(journal)).get_study_user_attrs(study) == {"note": "whole"}
