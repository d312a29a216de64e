"""What other processes do at the same moment takes nothing from a run."""

import contextlib
import importlib
import json
import subprocess
import sys
import time

import mlflow
import pytest

from pipeline import tracking
from pipeline.errors import RunFailure, UserError
from pipeline.tracking import dead, outbox, reopened, spool
from pipeline.tracking.store import REASON

sync = importlib.import_module("pipeline.tracking.sync")  # the function has the module's name
GONE = {"host": "", "pid": 2**22 + 1, "started": 1.0}  # no process has this number


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    outbox.unsent()


def run_of_a_dead_process():
    """Id of a run that is RUNNING, and whose process is gone."""
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        pass
    client = mlflow.MlflowClient()
    sign = {**json.loads(dead.sign()[dead.PROCESS]), "pid": GONE["pid"], "started": 1.0}
    client.set_tag(run.id, dead.PROCESS, json.dumps(sign))
    client.update_run(run.id, status="RUNNING")
    return run.id


def end_left():
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name("mine").experiment_id
    dead.end_left(client, client.search_runs([place], "attributes.status = 'RUNNING'"))


def test_a_run_that_is_taken_up_is_nobodys_to_end(monkeypatch):
    run_id = run_of_a_dead_process()
    listed = reopened.images

    def meanwhile(*given):  # another command begins while this one looks what is there
        end_left()
        return listed(*given)

    monkeypatch.setattr(reopened, "images", meanwhile)
    with tracking.open_run("pipeline", experiment="mine", name="", earlier=run_id):
        assert mlflow.MlflowClient().get_run(run_id).info.status == "RUNNING"
        assert tracking.ended(run_id, "run_id").alive


def test_a_good_end_leaves_no_reason_that_others_have_noted():
    client = mlflow.MlflowClient()
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        client.set_tag(run.id, dead.PROCESS, json.dumps({**GONE, "host": dead.life.host()}))
        end_left()
        assert REASON in client.get_run(run.id).data.tags
    ended = client.get_run(run.id)
    assert ended.info.status == "FINISHED"
    assert REASON not in ended.data.tags


def test_a_damaged_list_of_ids_stops_no_other_run(capsys):
    left = spool.Spool.make("r", "1", tracking.store_name())
    left.put("end", "r", {}, None)
    (left.folder / spool.IDS).write_bytes(b"")  # as a power cut leaves it
    left.lock.release()
    with tracking.open_run("pipeline", experiment="mine", name="another run"):
        pass
    assert f"{left.folder / spool.IDS} is damaged" in capsys.readouterr().err
    with pytest.raises(RunFailure, match=r"ids\.json is damaged"):
        tracking.sync()


def test_a_folder_that_another_process_has_sent_meanwhile_is_gone():
    left = spool.Spool.make("r", "1", tracking.store_name())
    left.close()
    assert sync._sent(left.folder, mlflow.MlflowClient()).records == 0
    assert not left.folder.exists()


def test_what_another_process_still_sends_is_waited_for(monkeypatch):
    monkeypatch.setattr(sync, "OTHERS", 0.1)
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        pass
    left = spool.Spool.make(run.id, run.experiment_id, tracking.store_name())
    left.put("end", run.id, {"status": "KILLED", "reason": "", "time": 1}, None)
    with pytest.raises(RunFailure, match="another process is still sending"):
        tracking.send_of(run.id)
    tracking.send_of(run.id, needed=False)  # its split can be read all the same
    left.lock.release()
    tracking.send_of(run.id)
    assert mlflow.MlflowClient().get_run(run.id).info.status == "KILLED"
    assert not left.folder.exists()


def test_records_for_another_address_of_the_store_are_told():
    left = spool.Spool.make("r", "1", "http://the-same-store:5000")
    left.put("end", "r", {}, None)
    left.lock.release()
    with pytest.raises(RunFailure, match=r"wait for the store http://the-same-store:5000; set"):
        tracking.send_of("r")
    tracking.send_of("r", needed=False)


def test_studies_of_one_name_in_two_storages_are_not_taken_for_one():
    tracking.study_run("mine", "s", ["label_frac"], "first")
    again = tracking.study_run("mine", "s", ["label_frac"], "first")
    with pytest.raises(UserError, match=r"trials lie in another storage; choose another name"):
        tracking.study_run("mine", "s", ["label_frac"], "second")
    assert tracking.study_run("mine", "s", ["label_frac"]).id == again.id  # of an older study


@pytest.mark.parametrize("error", [KeyboardInterrupt, RunFailure])
@pytest.mark.parametrize("leads", [True, False])
def test_who_does_not_lead_a_study_leaves_its_run_open_however_it_ends(leads, error):
    run = tracking.study_run("mine", "s", ["label_frac"], "first")
    with pytest.raises(error), tracking.closed(run, lambda: leads):
        raise error
    ended = "KILLED" if error is KeyboardInterrupt else "FAILED"
    assert mlflow.MlflowClient().get_run(run.id).info.status == (ended if leads else "RUNNING")


def test_a_curve_that_another_command_works_on_stays_open():
    client = mlflow.MlflowClient()

    def status(sign, error=None):
        """Of the summary after a command has ended that is not the last to have begun."""
        run = tracking.curve_run("mine", "c")
        said = json.dumps({**sign, "opening": str(error)})
        run.tags({dead.PROCESS: said})
        end = time.monotonic() + 300
        while client.get_run(run.id).data.tags.get(dead.PROCESS) != said:
            assert time.monotonic() < end
            time.sleep(0.05)
        with (
            contextlib.suppress(KeyboardInterrupt, RunFailure),
            tracking.closed(run, lambda: not tracking.is_anothers(run)),
        ):
            run.tags({"told": str(error)})
            if error:
                raise error
        if not error:
            assert client.get_run(run.id).data.tags["told"] == "None"
        return client.get_run(run.id).info.status

    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE
    ) as other:
        started = dead.life._started(other.pid)
        sign = {**dead.life.sign(), "pid": other.pid, "started": started}
        found = [status(sign, error) for error in (KeyboardInterrupt(), RunFailure("bad"), None)]
        assert found == ["RUNNING"] * 3
    found = [status(sign, error) for error in (KeyboardInterrupt(), RunFailure("bad"), None)]
    assert found == ["KILLED", "FAILED", "FINISHED"]
    assert status(dead.life.sign(), RunFailure("bad")) == "FAILED"


def test_a_curve_is_not_ended_by_its_own_command_and_says_what_goes_on():
    client = mlflow.MlflowClient()
    run = tracking.curve_run("mine", "c")
    run.outbox.close()
    sign = json.dumps({**GONE, "host": dead.life.host()})  # of another command, killed meanwhile
    client.set_tag(run.id, dead.PROCESS, sign)
    tracking.end_lost("mine", "c")
    assert client.get_run(run.id).info.status == "RUNNING"
    end_left()
    assert client.get_run(run.id).data.tags[REASON].endswith("The same command goes on.")
