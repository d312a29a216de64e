"""What a training shows of its generator: images from the same latents, some ten times."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.methods import Method
from pipeline.networks.spec import SHOWN_CLASSES
from pipeline.training.program import Program

LATENT_SEED = 0  # the same latents in every run, so that samples compare across runs
FIXED_SAMPLES = 100  # images of the fixed latent batch of a generator that knows no class
COLUMNS = 10  # of others: a class a row
FRAMES = 10  # sheets of samples over a training, beside the one before its first step


class Steps(NamedTuple):
    """The steps that train the generator."""

    begin: int
    end: int

    def due(self, last: int, done: int) -> bool:
        """Whether the report at step `done` shows samples, when the one before was at `last`.

        About `FRAMES` do, evenly, none before the first step that trains the generator.
        """
        length = self.end - self.begin
        tenths = [
            max(0, min(step, self.end) - self.begin) * FRAMES // length for step in (last, done)
        ]
        return tenths[1] > tenths[0]

    def percent(self, done: int) -> int:
        """How much of the generator's training is done after step `done`, 0 to 100."""
        return max(0, min(done, self.end) - self.begin) * 100 // (self.end - self.begin)


def steps(method: Method, config: Config, first: int) -> Steps:
    """Those of the method's generator; `first` of `config.steps` are the warm-up's."""
    if method.generator_steps:
        return Steps(config.steps, config.steps + method.generator_steps)
    return Steps(first, config.steps)


def labels(method: Method) -> NDArray[np.int64] | None:
    """The classes of the fixed samples, int64 [n] in equal runs, or None if nobody wants any."""
    if method.latents is None or not method.latents.n_classes:
        return None
    return np.repeat(np.arange(min(SHOWN_CLASSES, method.latents.n_classes)), COLUMNS)


def fixed(program: Program) -> Callable[[], NDArray[np.uint8] | None]:
    """Draw the fixed latent batch once; the result generates images from it, [n, h, w, c].

    Stretched to 0..255 as the training images are: to be seen, and compared with those.
    """
    latents, generate = program.method.latents, program.generate
    if latents is None or generate is None:
        return lambda: None
    random, classes = np.random.default_rng(LATENT_SEED), labels(program.method)
    count = FIXED_SAMPLES if classes is None else len(classes)
    batch = tf.constant(latents.draw(count, random, classes))
    stretching = program.stretching.table.numpy().astype(np.uint8)
    return lambda: np.take(stretching, generate(batch))
