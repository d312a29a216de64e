"""The folder of records: full disks, other users, and folders that somebody removes."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline import tracking
from pipeline.__main__ import main
from pipeline.errors import RunFailure
from pipeline.tracking import spool
from tests.tracking.stores import points, status


def test_a_full_disk_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(spool, "LOOK", 0.01)
    tried = []

    def save() -> None:
        tried.append(1)
        place = "/dev/full" if len(tried) < 3 else str(tmp_path / "held")
        Path(place).write_text("x" * 10)

    spool.with_room(save, tmp_path)
    assert (tmp_path / "held").read_text() == "x" * 10
    monkeypatch.setattr(spool, "ROOM", 0.03)
    with pytest.raises(RunFailure, match="the disk is full"):
        spool.with_room(lambda: Path("/dev/full").write_text("x"), tmp_path)


def test_records_are_kept_in_no_folder_that_another_user_may_write(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = spool.root()
    assert made.parent == tmp_path
    assert made.stat().st_mode & 0o777 == 0o700
    assert spool.root() == made  # ours
    made.chmod(0o777)
    with pytest.raises(RunFailure, match="no folder that this user alone may write"):
        spool.root()
    made.rmdir()
    (tmp_path / "another's").mkdir(mode=0o700)
    made.symlink_to(tmp_path / "another's")
    with pytest.raises(RunFailure, match="no folder that this user alone may write"):
        spool.folders()


def test_a_spool_that_somebody_removes_is_made_anew(quick):
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        run.metrics({"loss": 0.0}, 0)
        assert run.outbox.sent()
        shutil.rmtree(spool.root().parent)
        run.metrics({"loss": 0.5}, 1)
        run.text("held", "a.txt")
        assert run.outbox.spool.about()["run"] == run.id
        assert spool.Spool.opened(run.outbox.spool.folder) is None  # it is locked
    assert points(run.id) == [(0, 0.0), (1, 0.5)]
    assert status(run.id) == "FINISHED"
    assert not spool.folders()


def test_records_that_somebody_removes_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    held = spool.Spool.make("r", "1", "s")
    held.put("tags", "r", {}, None)
    shutil.rmtree(held.folder)
    with pytest.raises(RunFailure, match="records that the MLflow store had not got"):
        held.put("tags", "r", {}, None)
    held.lock.release()


def test_a_damaged_spool_is_named(quick, capsys):
    with tracking.open_run("pipeline", experiment="mine", name="a run"):
        pass
    folder = spool.root() / "damaged"
    folder.mkdir()
    (folder / spool.ABOUT).write_text("[")
    assert main(["sync"]) == 1
    assert str(folder) in capsys.readouterr().err
    assert main(["sync", "--run_id", "x"]) == 2
    about = {"run": "r", "experiment": "1", "store": tracking.store_name()}
    (folder / spool.ABOUT).write_text(json.dumps(about))
    for held in ("{", '{"kind": "model_id", "run": "r", "fields": {}}', '{"kind": "end"}'):
        (folder / "1.json").write_text(held)
        capsys.readouterr()
        assert main(["sync"]) == 1
        assert "to give the records of this folder up" in capsys.readouterr().err
