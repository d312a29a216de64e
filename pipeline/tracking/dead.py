"""Runs whose process is gone without a word: killed, out of memory, or with its machine."""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run

from pipeline import life
from pipeline.tracking import spool
from pipeline.tracking.store import KIND, REASON, tell

PROCESS = "ssgan.process"  # tag: the sign of the process that writes the run
CHECKPOINTS = "ssgan.checkpoints"  # tag: the folder that the run goes on from
PARENT = "mlflow.parentRunId"
LEFT = "its process is gone: killed, out of memory, or by a crash of the machine. "
NOTHING_KEPT = (
    "Nothing of the training is kept; the run's config.yaml repeats it: python -m pipeline run "
    "--config <file>"
)
GO_ON = "python -m pipeline run --resume {}"
SYNC = "python -m pipeline sync"


def sign(opening: str = "") -> dict[str, str]:
    """The tag that says which process writes a run; `opening` tells its runs apart."""
    return {PROCESS: json.dumps({**life.sign(), **({"opening": opening} if opening else {})})}


@functools.cache
def sweep(uri: str, current: str = "") -> None:
    """End, once a process, the runs that a process of this machine has left RUNNING: KILLED.

    Trials and their studies are left to the search, which repeats them. uri: the store's. The run
    `current`, which goes on, is left alone with its child.
    """
    client = mlflow.MlflowClient()
    everywhere = [e.experiment_id for e in client.search_experiments()]
    query = f"tags.`{PROCESS}` LIKE '%pid%' and attributes.status = 'RUNNING'"
    end_left(client, client.search_runs(everywhere, query), current)


def end_left(client: mlflow.MlflowClient, running: Iterable[Run], current: str = "") -> None:
    """End those of the runs whose process of this machine is gone: KILLED.

    current: id of a run that this process goes on with, which stays.
    """
    left = [run for run in running if _is_left(run) and _owner(run) != current]
    waiting = spool.ended() if left else set()  # how they have ended is still to be sent
    left = [run for run in left if run.info.run_id not in waiting]
    kept = {_owner(run) for run in left if _is_kept(run)}
    for run in left:
        then = f"Go on with: {GO_ON.format(_owner(run))}" if _owner(run) in kept else NOTHING_KEPT
        then = "The same command goes on." if run.data.tags.get(KIND) == "curve" else then
        client.set_tag(run.info.run_id, REASON, LEFT + then)
        client.set_terminated(run.info.run_id, "KILLED")
    if left:
        runs = "1 run" if len(left) == 1 else f"{len(left)} runs"
        then = "".join(f"; go on with: {GO_ON.format(run_id)}" for run_id in sorted(kept))
        tell(f"{runs} left RUNNING by a process that is gone ended as KILLED: tag {REASON}{then}")


def lives(run: Run) -> bool:
    """Whether the process that writes a run is certainly still there, on this machine."""
    said = _sign_of(run)
    return said is not None and said["host"] == life.host() and not life.gone(said)


def is_anothers(run: Run) -> bool:
    """Whether another process than this one, certainly still there, writes a run."""
    return lives(run) and not life.ours(_sign_of(run))


def _owner(run: Run) -> str:
    """The run that a command would go on with: itself, or the one whose child it is."""
    return str(run.data.tags.get(PARENT, run.info.run_id))


def _is_kept(run: Run) -> bool:
    folder = run.data.tags.get(CHECKPOINTS)
    try:
        return folder is not None and any(Path(folder).glob("*/*.npz"))
    except (OSError, ValueError):  # not there, or changed by somebody
        return False


def _is_left(run: Run) -> bool:
    return run.data.tags.get(KIND) != "trial" and life.gone(_sign_of(run))


def _sign_of(run: Run) -> dict[str, Any] | None:
    try:
        said = json.loads(run.data.tags[PROCESS])
        return {key: said[key] for key in ("host", "pid", "started")}
    except (ValueError, TypeError, KeyError):  # changed by somebody
        return None
