"""MLflow's UI on this folder's store: one server process, and the address that shows the runs."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import mlflow

from pipeline.errors import RunFailure, UserError
from pipeline.tracking import views
from pipeline.tracking.faults import FAULTS
from pipeline.tracking.store import KIND, connect, reachable

HOST = "127.0.0.1"
SECONDS = 120  # for the server to answer, on a busy machine
GRACE = 10  # seconds for the server to end by itself


def serve(port: int) -> None:
    """Start the UI and wait for Ctrl-C; says the address once the server answers.

    A tracking server has its own: then only the address is said.

    Raises:
        UserError: the port is taken, or the store cannot be used.
        RunFailure: the server ended by itself.
    """
    store = mlflow.get_tracking_uri()
    if store.startswith("http"):
        print(f"The runs are on a tracking server.\nOpen {_page()}")
        return
    _refuse_taken(port)
    os.environ["MLFLOW_PORT"] = str(port)
    with reachable():
        connect().search_experiments(max_results=1)  # makes the store, in this process alone
    # A line for every request would bury the address.
    quiet = ["--uvicorn-opts", "--log-level warning"]
    where = ["--host", HOST, "--port", str(port)]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store,  # on the command line everybody reads its password
        # Without it seven processes more are started, for jobs that nobody gives.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "ui", "--workers", "1", *quiet, *where],
        env={**os.environ, **environment},
    )
    try:
        _wait(process, port)
        print(f"\nOpen {_page()}\nCtrl-C ends the server.\n", flush=True)
        code = process.wait()
        raise RunFailure(f"the server has ended by itself (exit code {code}).")
    except KeyboardInterrupt:
        print("The server has ended.")
    finally:
        _end(process)


def _page() -> str:
    """The comparison in the experiment of the newest run of ours; without one, all experiments."""
    client = mlflow.MlflowClient()
    with reachable():
        there = [experiment.experiment_id for experiment in client.search_experiments()]
        ours = f"tags.`{KIND}` != 'baseline'"
        newest = client.search_runs(there, ours, max_results=1, order_by=["start_time DESC"])
    if not newest:
        return f"{views.server()}/#/experiments?workflowType=machine_learning"
    experiment_id = newest[0].info.experiment_id
    with contextlib.suppress(*FAULTS):
        if views.TAG + views.TRIALS in client.get_experiment(experiment_id).tags:
            return views.address(experiment_id, views.TRIALS)
    views.offer(client, experiment_id)
    return views.address(experiment_id, views.LABELS)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} cannot be used ({error}); choose another, e.g. make ui PORT=5050 or "
                "python -m pipeline ui --port 5050."
            ) from None


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RunFailure("the server did not start; see above.")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/health"):
            return
        time.sleep(0.3)
    raise RunFailure(f"the server has not answered within {SECONDS} s.")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server; on Ctrl-C in a terminal it has heard it too."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.send_signal(signal.SIGTERM)
        process.wait(GRACE)
    process.kill()
    process.wait()
