"""Use of the machine while a run goes, as MLflow's `system/…` metrics."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.errors import RunFailure
from pipeline.tracking.run import Run

SECONDS = 5  # between two points


@contextmanager
def system_metrics(run: Run) -> Iterator[None]:
    """Log CPU, memory, disk, network and GPU use while the block runs."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor: Any = SystemMetricsMonitor(run.id, SECONDS)  # type: ignore[no-untyped-call]
    done = threading.Event()

    def watch() -> None:
        # MLflow's own loop ends for good when the store does not answer once.
        step = run.first_step("system/")
        while True:
            monitor.collect_metrics()
            if done.wait(monitor.sampling_interval):
                return
            used = {f"system/{key}": value for key, value in monitor.aggregate_metrics().items()}
            try:
                run.metrics(used, step)
            except RunFailure:  # the run hears of it itself
                return
            step += 1
            for each in monitor.monitors:
                each.clear_metrics()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
