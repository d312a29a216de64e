"""The only importer of mlflow: runs that are written, runs that are read back.

Nothing here uses MLflow's process-global active run, so that several runs may be open at once and
in several processes.
"""

from pipeline.tracking.earlier import child_of, fetch, last_metrics, source_kind, tag
from pipeline.tracking.models import LoadedModel, load_model
from pipeline.tracking.runs import Run, end_attached_run, open_run
from pipeline.tracking.store import KIND, NOTE, REASON, SOURCE

__all__ = [
    "KIND",
    "NOTE",
    "REASON",
    "SOURCE",
    "LoadedModel",
    "Run",
    "child_of",
    "end_attached_run",
    "fetch",
    "last_metrics",
    "load_model",
    "open_run",
    "source_kind",
    "tag",
]
