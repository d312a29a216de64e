"""The only importer of mlflow: runs that are written, runs that are read back.

Nothing here uses MLflow's process-global active run, so that several runs may be open at once and
in several processes.
"""

from pipeline.tracking.dead import CHECKPOINTS
from pipeline.tracking.earlier import (
    child_of,
    fetch,
    last_metrics,
    parameter,
    run_name,
    source_kind,
    tag,
)
from pipeline.tracking.experiments import end_attached_run
from pipeline.tracking.models import LoadedModel, load_model
from pipeline.tracking.reopened import Ended, child_to_go_on_with, ended
from pipeline.tracking.run import Run
from pipeline.tracking.runs import open_run
from pipeline.tracking.store import KIND, NOTE, SOURCE
from pipeline.tracking.studies import (
    CELL,
    STUDY,
    TRIAL,
    describe_attached,
    end,
    evaluation_of,
    kill_evaluation,
    kill_trial,
    study_run,
)
from pipeline.tracking.system import system_metrics
from pipeline.tracking.views import COLOUR, CURVES, LABELS, TRIALS, WINNERS, colour

__all__ = [
    "CELL",
    "CHECKPOINTS",
    "COLOUR",
    "CURVES",
    "KIND",
    "LABELS",
    "NOTE",
    "SOURCE",
    "STUDY",
    "TRIAL",
    "TRIALS",
    "WINNERS",
    "Ended",
    "LoadedModel",
    "Run",
    "child_of",
    "child_to_go_on_with",
    "colour",
    "describe_attached",
    "end",
    "end_attached_run",
    "ended",
    "evaluation_of",
    "fetch",
    "kill_evaluation",
    "kill_trial",
    "last_metrics",
    "load_model",
    "open_run",
    "parameter",
    "run_name",
    "source_kind",
    "study_run",
    "system_metrics",
    "tag",
]
