"""The only importer of mlflow: runs that are written, runs that are read back.

Nothing here uses MLflow's process-global active run, so that several runs may be open at once and
in several processes.
"""

from pipeline.tracking.curves import (
    CELL_DIGEST,
    CELL_KIND,
    COMMAND,
    CURVE,
    Found,
    cells,
    chosen,
    curve_run,
    end_lost,
    is_anothers,
    kill,
    known_summary,
    latest_summary,
)
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
from pipeline.tracking.faults import StoreAway
from pipeline.tracking.models import LoadedModel, load_model
from pipeline.tracking.outbox import check_sent
from pipeline.tracking.reopened import Ended, child_to_go_on_with, ended
from pipeline.tracking.run import Run
from pipeline.tracking.runs import disown, open_run
from pipeline.tracking.store import KIND, NOTE, PATIENCE, REASON, SOURCE, patiently, store_name
from pipeline.tracking.studies import (
    CELL,
    STUDY,
    TRIAL,
    closed,
    describe_attached,
    end,
    evaluation_of,
    is_known,
    kill_evaluation,
    kill_trial,
    reopen,
    study_run,
)
from pipeline.tracking.sync import send_of, sync
from pipeline.tracking.system import system_metrics
from pipeline.tracking.views import COLOUR, CURVES, LABELS, TRIALS, WINNERS, colour

__all__ = [
    "CELL",
    "CELL_DIGEST",
    "CELL_KIND",
    "CHECKPOINTS",
    "COLOUR",
    "COMMAND",
    "CURVE",
    "CURVES",
    "KIND",
    "LABELS",
    "NOTE",
    "PATIENCE",
    "REASON",
    "SOURCE",
    "STUDY",
    "TRIAL",
    "TRIALS",
    "WINNERS",
    "Ended",
    "Found",
    "LoadedModel",
    "Run",
    "StoreAway",
    "cells",
    "check_sent",
    "child_of",
    "child_to_go_on_with",
    "chosen",
    "closed",
    "colour",
    "curve_run",
    "describe_attached",
    "disown",
    "end",
    "end_attached_run",
    "end_lost",
    "ended",
    "evaluation_of",
    "fetch",
    "is_anothers",
    "is_known",
    "kill",
    "kill_evaluation",
    "kill_trial",
    "known_summary",
    "last_metrics",
    "latest_summary",
    "load_model",
    "open_run",
    "parameter",
    "patiently",
    "reopen",
    "run_name",
    "send_of",
    "source_kind",
    "store_name",
    "study_run",
    "sync",
    "system_metrics",
    "tag",
]
