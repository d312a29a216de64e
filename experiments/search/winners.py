"""The models that a study recommends, tested on the test images: once each."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

from experiments import trial as trials
from experiments import workers
from experiments.search.study import Study
from pipeline import tracking
from pipeline.errors import RunFailure

TESTS_A_PROCESS = 3  # at least: each process has to start TensorFlow first


@contextmanager
def tested(study: Study, run_ids: Sequence[str], threads: int | None) -> Iterator[None]:
    """Evaluate runs while the block does something else; this process never loads TensorFlow.

    Raises:
        RunFailure: one of them could not be evaluated.
    """
    at_once = study.plan.settings.workers if study.plan.settings.workers != "ray" else 1
    processes = min(at_once, -(-len(run_ids) // TESTS_A_PROCESS))
    flags = {"experiment": study.plan.experiment}
    # The data may have been moved since the trial.
    if folder := study.plan.config(study.plan.firsts).data_dir:
        flags["data_dir"] = str(folder)
    if threads:
        flags["threads"] = str(threads)
    started = [
        workers.start(partial(_evaluate, tuple(run_ids[i::processes]), flags))
        for i in range(processes)
    ]
    try:
        yield
        for process in started:
            process.join()
    finally:
        for process in started:
            process.terminate()
            process.join(workers.GRACE)
    if any(process.exitcode for process in started):
        raise RunFailure("the winners could not be evaluated; the same command tries again.")


def _evaluate(run_ids: Sequence[str], flags: Mapping[str, str]) -> int:
    from pipeline.runs import flow

    trials.detach()
    for run_id in run_ids:
        tracking.kill_evaluation(run_id, "the process that evaluated was lost")
        flow.evaluate({**flags, "run_id": run_id})
        tracking.check_sent()
    return len(run_ids)
