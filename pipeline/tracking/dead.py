"""Runs whose process is gone without a word: killed, out of memory, or with its machine."""

import functools
import json
from collections.abc import Iterable
from typing import Any

import mlflow
from mlflow.entities import Run

from pipeline import life
from pipeline.tracking.store import KIND, REASON, tell

PROCESS = "ssgan.process"  # tag: the sign of the process that writes the run
LEFT = (
    "its process is gone: killed, out of memory, or by a crash of the machine. Nothing of the "
    "training is kept; the run's config.yaml repeats it: python -m pipeline run --config <file>"
)


def sign() -> dict[str, str]:
    """The tag that says which process writes a run."""
    return {PROCESS: json.dumps(life.sign())}


@functools.cache
def sweep(uri: str) -> None:
    """End, once a process, the runs that a process of this machine has left RUNNING: KILLED.

    Trials and their studies are left to the search, which repeats them. uri: the store's.
    """
    client = mlflow.MlflowClient()
    everywhere = [e.experiment_id for e in client.search_experiments()]
    query = f"tags.`{PROCESS}` LIKE '%pid%' and attributes.status = 'RUNNING'"
    end_left(client, client.search_runs(everywhere, query))


def end_left(client: mlflow.MlflowClient, running: Iterable[Run]) -> None:
    """End those of the runs whose process of this machine is gone: KILLED."""
    left = [run for run in running if _is_left(run)]
    for run in left:
        client.set_tag(run.info.run_id, REASON, LEFT)
        client.set_terminated(run.info.run_id, "KILLED")
    if left:
        runs = "1 run" if len(left) == 1 else f"{len(left)} runs"
        tell(f"{runs} left RUNNING by a process that is gone ended as KILLED: tag {REASON}")


def _is_left(run: Run) -> bool:
    return run.data.tags.get(KIND) != "trial" and life.gone(_sign_of(run))


def _sign_of(run: Run) -> dict[str, Any] | None:
    try:
        said = json.loads(run.data.tags[PROCESS])
        return {key: said[key] for key in ("host", "pid", "started")}
    except (ValueError, TypeError, KeyError):  # changed by somebody
        return None
