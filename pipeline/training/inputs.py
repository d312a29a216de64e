"""What the compiled call takes: which images a step sees, and how fast it learns from them."""

import functools
import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import memory
from pipeline.config.schema import Config
from pipeline.methods import Arrays
from pipeline.training.program import Program

# Of the memory, that images may take and still be held whole. TensorFlow takes twice as much while
# it copies them, and three times if their pixels are stretched.
LARGEST_SHARE = 0.25
GATHERED_BYTES = 2**27  # of images that are brought for one call of the compiled steps


def rate_factors(number: NDArray[np.float32], steps: int, config: Config) -> NDArray[np.float32]:
    """Shares of the learning rate, float32 in [0, 1]: rise, then fall.

    number: float32, steps of the phase taken, the one in question included; the phase has `steps`.
    """
    rising = np.minimum(1.0, number / max(1, config.warmup_steps))
    begin = config.decay_from * steps
    fallen = np.clip((number - begin) / max(1.0, steps - begin), 0.0, 1.0)
    left = 0.5 * (1.0 + np.cos(np.pi * fallen)) if config.decay == "cosine" else 1.0 - fallen
    factors = rising * (config.final_lr_fraction + (1.0 - config.final_lr_fraction) * left)
    return np.asarray(factors, np.float32)


class Order:
    """The order in which images are drawn: pass after pass, each over a fresh permutation.

    A function of seed and step alone, so that a run that goes on needs no iterator's state.
    """

    def __init__(self, n: int, batch: int, seed: tuple[int, ...]) -> None:
        """Draw `batch` of n images a step; one `seed` for each of several orders of a run."""
        self.n, self.batch, self.seed = n, batch, seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def batches(self, first_step: int, count: int) -> NDArray[np.int32]:
        """Positions below n, int32 [count, batch], of the steps from `first_step` (from 0) on."""
        begin, end = first_step * self.batch, (first_step + count) * self.batch
        passes = range(begin // self.n, -(-end // self.n))
        drawn = np.concatenate([self._permutation(number) for number in passes])
        return drawn[begin - passes[0] * self.n :][: end - begin].reshape(count, self.batch)

    def _draw(self, number: int) -> NDArray[np.int32]:
        generator = np.random.default_rng([*self.seed, number])
        return generator.permutation(self.n).astype(np.int32)


class Inputs:
    """What the compiled call takes for some steps: a function of the step's number alone.

    The images lie where the step gathers them from, all of them; of larger ones than `fits` says,
    those that the next steps take.
    """

    def __init__(self, program: Program, arrays: Arrays, config: Config) -> None:
        """Draw images of `arrays` in the order of `config.seed`."""
        self.arrays, self.config, self.held = arrays, config, program.images
        self.uses_pool = program.method.uses_pool
        self.own = Order(len(arrays.labelled), config.batch_size, (config.seed, 0))
        self.free = Order(len(arrays.pool), config.unlabelled_batch_size, (config.seed, 1))
        generating = [name for name in program.method.optimizers if name.startswith("generator")]
        rates = dict.fromkeys(generating, config.generator_lr)
        if "warm_up" in program.method.optimizers:
            rates["warm_up"] = config.own["warm_up_lr"]
        self.rates = np.array(
            [rates.get(name, config.discriminator_lr) for name in program.method.optimizers],
            np.float32,
        )
        self.schedules = {
            phase: config.model_copy(update=dict(keys))
            for phase, keys in program.method.schedules.items()
        }
        images = arrays.images
        self.most_steps = sys.maxsize
        self.everything = fits(images)
        if self.everything:
            self.held.assign(images[:])
        else:
            a_step = (config.batch_size + config.unlabelled_batch_size) * math.prod(
                images.shape[1:]
            )
            self.most_steps = max(1, GATHERED_BYTES // a_step)

    def steps(
        self, done: int, count: int, begin: int, end: int, phase: str = "step"
    ) -> tuple[NDArray[Any], ...]:
        """Arguments for the next `count` steps of a phase that has steps `begin` to `end`.

        Of images that do not fit, it brings those of these steps; at most `most_steps` at a time.
        """
        own = self.own.batches(done, count)
        number = np.arange(done - begin, done - begin + count, dtype=np.float32) + 1
        labelled = self.arrays.labelled[own].astype(np.int32)
        free = self.arrays.pool[self.free.batches(done, count)].astype(np.int32)
        return (
            *self._rows(labelled, free, phase),
            self.arrays.labels[own].astype(np.int32),
            free,
            rate_factors(number, end - begin, self.schedules.get(phase, self.config)),
            self._renewed(number, phase),
            number / (end - begin),
            self.rates,
        )

    def _renewed(self, number: NDArray[np.float32], phase: str) -> NDArray[np.float32]:
        """The share of the averages that each step renews."""
        least = np.full_like(number, 1 - self.config.ema_decay)
        if phase == "augment":
            return least
        # A young average forgets faster, or it would remember the random start.
        return np.maximum(least, 1 / (1 + 0.5 * number))

    def _rows(
        self, labelled: NDArray[np.int32], free: NDArray[np.int32], phase: str
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Where the images of these places lie among those that are held."""
        if self.everything:
            return labelled, free
        if phase == "generate":  # it draws from images of its own
            self.held.assign(self.arrays.images[:1])
            return np.zeros_like(labelled), np.zeros_like(free)
        if not self.uses_pool:  # nobody looks at these: an image that is brought anyway will do
            free = np.full_like(free, labelled[0, 0])
        places, rows = np.unique(np.append(labelled, free), return_inverse=True)
        self.held.assign(self.arrays.images[places])
        of_labelled, of_free = np.split(rows.astype(np.int32), [labelled.size])
        return of_labelled.reshape(labelled.shape), of_free.reshape(free.shape)


def fits(images: NDArray[np.uint8]) -> bool:
    """Whether images take so little memory that all of them can be held beside their file."""
    return images.nbytes <= LARGEST_SHARE * memory.limit()
