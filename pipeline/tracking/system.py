"""Use of the machine while a run goes, as MLflow's `system/…` metrics."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.tracking.reopened import ReopenedRun
from pipeline.tracking.run import Run

SECONDS = 5  # between two points


@contextmanager
def system_metrics(run: Run) -> Iterator[None]:
    """Log CPU, memory, disk, network and GPU use while the block runs."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    goes_on = isinstance(run, ReopenedRun)  # its steps are counted on
    monitor: Any = SystemMetricsMonitor(  # type: ignore[no-untyped-call]
        run.id, SECONDS, resume_logging=goes_on
    )
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()
