"""What tells that a training is lost: numbers without measure, guesses, images all alike."""

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.errors import Collapsed, Diverged
from pipeline.methods import Arrays, Method
from pipeline.networks.spec import some_of

GRACE = 0.25  # share of a phase's steps before collapse is judged
GRACE_STEPS = 100  # and steps, at least: a few steps have learned nothing yet
DIVERGED = 1e6  # a loss beyond it is lost, though finite
COMPARED = 256  # real images whose spread is looked at
COLLAPSED_SPREAD = 0.02  # of the real images' spread between generated images of one batch


class Watch:
    """Judges the reports of one training."""

    def __init__(
        self, method: Method, arrays: Arrays, config: Config, first: int, last: int = 0
    ) -> None:
        """`first`: the steps of the warm-up; `last`: the step of the last report that is judged."""
        self.method, self.arrays, self.config, self.first = method, arrays, config, first
        self.last = last

    def judge(
        self,
        phase: str,
        step: int,
        metrics: dict[str, float],
        samples: NDArray[np.uint8] | None,
        sample_labels: NDArray[np.int64] | None,
    ) -> None:
        """Raise Diverged or Collapsed if a report shows that training is lost.

        samples: uint8 [n, h, w, c], if the report has any; sample_labels: the classes that were
        wanted, int64 [n], of a generator that knows them.
        """
        self._diverged(phase, step, metrics)
        before, self.last = self.last, step
        drawn = self.config.steps + self.method.generator_steps
        begin, end = {
            "warm_up": (0, self.first),
            "step": (self.first, self.config.steps),
            "generate": (self.config.steps, drawn),
            "augment": (drawn, drawn + self.method.augment_steps),
        }[phase]
        grace = max(GRACE * (end - begin), GRACE_STEPS)
        if phase == "warm_up" or step - begin < grace:
            return
        # A report tells the mean since the one before, which must not reach back into the grace;
        # but after the last one there is no other to judge.
        if phase in ("step", "augment") and (before - begin >= grace or step == end):
            done, of = (step, end) if phase == "step" else (step - begin, end - begin)
            self._classifier_collapsed(done, of, metrics["train/supervised_loss"])
        if samples is not None:
            self._generator_collapsed(
                f"after {step - begin if phase == 'generate' else step} of "
                f"{end - begin if phase == 'generate' else end} steps",
                _spread(samples, sample_labels),
            )

    def _diverged(self, phase: str, step: int, metrics: dict[str, float]) -> None:
        config = self.config
        for name, value in metrics.items():
            if not math.isfinite(value) or (name.endswith("_loss") and abs(value) > DIVERGED):
                keys = {
                    "warm_up": ["warm_up_lr" if "warm_up_lr" in config.own else "discriminator_lr"],
                    "step": ["discriminator_lr", "generator_lr"],
                    "generate": ["generator_lr"],
                    "augment": ["discriminator_lr"],
                }[phase]
                rates = " and ".join(f"{key} ({config.flat()[key]:g})" for key in keys)
                more = f"more warmup_steps ({config.warmup_steps})"
                if phase == "generate":
                    more = f"a larger penalty_weight ({config.own['penalty_weight']:g})"
                raise Diverged(
                    f"training diverged: {name} is {value} at step {step}. Try lower {rates}, "
                    f"or {more}."
                )

    def _classifier_collapsed(self, step: int, steps: int, loss: float) -> None:
        n_classes, config = len(np.unique(self.arrays.labels)), self.config
        if loss >= math.log(n_classes):
            raise Collapsed(
                f"the classifier collapsed: after {step} of {steps} steps its loss on "
                f"its own labelled images, {loss:.3g}, is no better than guessing among "
                f"{n_classes} classes ({math.log(n_classes):.3g}). Try a lower discriminator_lr "
                f"({config.discriminator_lr:g}), more steps or less augmentation."
            )

    def _generator_collapsed(self, when: str, spread: float) -> None:
        share = spread / max(self._real_spread, 1e-6)
        if share < COLLAPSED_SPREAD:
            raise Collapsed(
                f"the generator collapsed: {when} its images differ by {share:.1%} of what real "
                f"images do. Try a lower generator_lr ({self.config.generator_lr:g}), another "
                "seed, or see the samples in the run."
            )

    @cached_property
    def _real_spread(self) -> float:
        return _spread(self.arrays.images[some_of(self.arrays.pool, COMPARED)], None)


def _spread(images: NDArray[np.uint8], labels: NDArray[np.int64] | None) -> float:
    """Mean over the pixels of the standard deviation between images [n, h, w, c] of a batch.

    With labels [n], between those of a class, the mean over the classes that have several.
    """
    groups = [images] if labels is None else [images[labels == k] for k in np.unique(labels)]
    several = [group for group in groups if len(group) > 1] or [images]
    return float(np.mean([np.std(g.astype(np.float32), axis=0).mean() for g in several]))
