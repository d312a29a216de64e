"""A planted password is nowhere: not in the terminal, not in the store, not in a study."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from pipeline import tracking
from pipeline.errors import UserError
from pipeline.masking import masked, masked_addresses, without_credentials
from pipeline.tracking.outbox import Outbox
from tests.experiments.studies import opened

ROOT = Path(__file__).resolve().parent.parent
SECRET = "pl@nted-S3cret/9"
ESCAPED = "pl%40nted-S3cret%2F9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"no http://me:{ESCAPED}@host:1/x here", "no http://me:…@host:1/x here"),
        ("postgresql+psycopg://u:a@b@db/x", "postgresql+psycopg://u:…@db/x"),
        ("https://token1234@host", "https://…@host"),
        ("two: a://b:c@d, e://f:g@h", "two: a://b:…@d, e://f:…@h"),
        ("s3://bucket/me@home and me@example.org", "s3://bucket/me@home and me@example.org"),
        ("http://host/?a=1&token=abc&b=2", "http://host/?a=1&token=…&b=2"),
        ("sqlite:////tmp/mlflow.db", "sqlite:////tmp/mlflow.db"),
        ("postgresql://me:Zk/9aQ+rT1xY@db.host/mlflow", "postgresql://me:…@db.host/mlflow"),
        ("at mysql+pymysql://me:Zk?9a#Q@db/x here", "at mysql+pymysql://me:…@db/x here"),
        ("postgresql://u:it'sasecret@h/db", "postgresql://u:…@h/db"),
        ("postgresql://h/db?user=u&sslpassword=hunter2", "postgresql://h/db?user=u&sslpassword=…"),
        ("postgresql://u:a/b@c@h/x,postgresql://v:p@h", "postgresql://u:…@h/x,postgresql://v:…@h"),
        ("postgresql://db:5432/x of me@home", "postgresql://db:5432/x of me@home"),
        ("https://h/?access_token=abcdefgh123", "https://h/?access_token=…"),
        ("https://h/x?X-Amz-Signature=dead&design=1", "https://h/x?X-Amz-Signature=…&design=1"),
    ],
)
def test_addresses_lose_their_secrets_and_nothing_else(text, shown):
    assert masked_addresses(text) == masked(text) == shown
    assert masked(shown) == shown


def test_a_link_for_the_browser_holds_no_name_either():
    assert without_credentials("http://me:secret@host:5000/a") == "http://host:5000/a"


def test_secrets_of_the_environment_are_known_by_themselves(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:{ESCAPED}@host")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token-of-mine")
    assert masked(f"login of me with {SECRET} failed") == "login of me with … failed"
    assert masked("Bearer token-of-mine") == "Bearer …"
    assert str(UserError(f"refused: {SECRET}")) == "refused: …"


@pytest.mark.parametrize(
    "password", ["pa ss word1", "s3cr/etpass", "it'sasecret", "Zk#9aQ?rT1xY", "hunter2;hunter2"]
)
def test_every_password_of_an_address_in_the_environment_is_known(password, monkeypatch):
    for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, f"http://me:{password}@host/x")
            assert masked(f"http://me:{password}@host/x") == "http://me:…@host/x"
            assert masked(f"login with {password} failed") == "login with … failed"
            patch.setenv(variable, f"postgresql://host/x?user=me&sslpassword={ESCAPED}")
            assert masked(f"login with {SECRET} failed") == "login with … failed"


def test_a_short_password_does_not_eat_other_words(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mnist")
    assert masked("dataset mnist") == "dataset mnist"


# ---------------------------------------------------------------- commands


@pytest.fixture
def address(tmp_path):
    """A tracking server that a name and a password are given to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--workers", "1"]
    kept = ["--artifacts-destination", str(tmp_path / "artifacts")]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), *where, *kept],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health")
        yield f"http://me:{ESCAPED}@127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for(page):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(page):
            return
        time.sleep(0.2)
    raise AssertionError(page)


def typed(folder, uri, module, *words):
    """What a command says, everything together."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        env={
            **os.environ,
            "HOME": str(folder),  # what is kept there is searched, too
            "MLFLOW_TRACKING_URI": uri,
            "PYTHONPATH": str(ROOT),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    return done.returncode, done.stdout + done.stderr


def holders(folder):
    """Files in which the secret stands."""
    forms = [SECRET.encode(), ESCAPED.encode()]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


@pytest.mark.slow
def test_a_run_on_a_server_keeps_and_shows_no_password(address, tmp_path):
    short = ["--steps", "20", "--method", "supervised", "--baseline", "false"]
    code, said = typed(tmp_path, address, "pipeline", "run", *short)
    assert code == 0, said
    assert SECRET not in said
    assert ESCAPED not in said
    assert list((tmp_path / "artifacts").rglob("result.json"))
    assert holders(tmp_path) == []


@pytest.mark.slow
def test_an_address_that_does_not_answer_is_told_without_its_password(tmp_path):
    for uri in (f"http://me:{ESCAPED}@127.0.0.1:9", f"postgresql://me:{ESCAPED}@127.0.0.1:9/x"):
        code, said = typed(tmp_path, uri, "pipeline", "run", "--steps", "20")
        assert code != 0
        assert "127.0.0.1:9" in said
        assert SECRET not in said
        assert ESCAPED not in said


def test_a_storage_that_does_not_answer_is_told_without_its_password(tmp_path):
    storage = f"postgresql+psycopg://me:{ESCAPED}@127.0.0.1:9/studies"
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    code, said = typed(tmp_path, uri, "experiments", "search", "--storage", storage)
    assert code != 0
    assert "storage = postgresql+psycopg://me:…@127.0.0.1:9/studies" in said
    assert holders(tmp_path) == []


def test_a_study_and_a_spool_keep_no_password(tmp_path, monkeypatch):
    address = f"http://me:{ESCAPED}@127.0.0.1:9"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    study = opened(str(tmp_path / "studies" / "journal.log"))
    study.note(store=tracking.store_name())  # as a search does
    study.fill()
    study.claim().finish(TrialState.FAIL, None, reason=f"no answer of {address}", failed=True)
    Outbox("r", "1", MlflowClient(address))
    assert list(tmp_path.rglob("about.json"))
    assert holders(tmp_path) == []
