"""What a training tells of itself: its reports, and what it took."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.measure.class_shift import SHARE


@dataclass(frozen=True)
class Report:
    """What a run shows of itself every `report_every` steps."""

    step: int
    metrics: dict[str, float]  # means over the steps since the last report, named as in MLflow
    samples: NDArray[np.uint8] | None  # of the fixed latent batch, [n, h, w, c]; now and then
    classes: NDArray[np.int64] | None = None  # that the samples are to show, [n]
    percent: int = 0  # of the generator's training that is done


@dataclass
class History:
    """Every report's metrics, and what the training took."""

    images_per_step: int  # of the pool, or labelled ones if the method takes no others
    n_images: int  # that they are drawn from
    steps: int  # of the classifier, its warm-up among them
    reports: list[Report] = field(default_factory=list)
    seconds: float = 0.0  # without those of `on_report`
    report_seconds: float = 0.0  # of `on_report`
    checkpoint_seconds: float = 0.0  # of writing checkpoints, which `seconds` hold
    trace_seconds: float = 0.0  # of compiling, until the first step was done
    compared: dict[str, float] = field(default_factory=dict)  # images, before they are learned
    recalled_steps: int = 0  # of the warm-up, which an earlier training of this process has made
    generator_lost: str = ""  # why the generator is none, though the classifier is trained

    def apart(self, on_report: Callable[[Report], bool]) -> Callable[[Report], bool]:
        """The same, with its seconds counted apart from the training's."""

        def timed(report: Report) -> bool:
            begin = time.perf_counter()
            try:
                return on_report(report)
            finally:
                self.report_seconds += time.perf_counter() - begin

        return timed

    def frame(self) -> pd.DataFrame:
        """All metrics as rows of step, name, value."""
        rows = [
            (report.step, name, value)
            for report in self.reports
            for name, value in report.metrics.items()
        ]
        return pd.DataFrame(rows, columns=["step", "name", "value"])

    def totals(self) -> dict[str, float]:
        """`train/passes` over the images, steps recalled; seconds of the loop, of tracing and of
        writing checkpoints.

        Of what is compared all but the classes' shares.
        """
        return {
            **{f"data/{k}": v for k, v in self.compared.items() if not k.startswith(SHARE)},
            "train/recalled_steps": self.recalled_steps,
            "train/passes": min(self.reports[-1].step, self.steps)
            * self.images_per_step
            / self.n_images,
            "time/loop_s": self.seconds,
            "time/trace_s": self.trace_seconds,
            "time/checkpoint_s": self.checkpoint_seconds,
        }
