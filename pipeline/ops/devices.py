"""One step on one device or shared out among several.

Under `tf.distribute.MirroredStrategy` every device holds a copy of each variable, takes its part
of the batch and changes its copies alike: what is a mean over the batch goes through `mean`, and
random numbers are drawn for the whole batch and sliced. A step thus computes the same on any
number of devices, up to rounding and to what compares images with each other (contrastive
negatives, the pull-away term), which stays within a device; noise and augmentation go to other
images. On one device every function here gives its argument back.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@functools.cache
def strategy(devices: int | None) -> tf.distribute.Strategy:
    """How a step is spread over `devices` devices; None = every GPU, or the CPU."""
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    wanted = found[: devices or (len(gpus) or 1)]
    if len(wanted) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in wanted])


def count() -> int:
    """The number of devices that the step being traced is spread over."""
    context = _context()
    return 1 if context is None else int(context.num_replicas_in_sync)


def local(variable: Any) -> tf.Variable:
    """This device's copy of a TensorFlow or Keras variable, to be changed in a step."""
    value = variable.value if isinstance(variable, keras.Variable) else variable
    context = _context()
    if context is None:
        return value
    return context.strategy.experimental_local_results(value)[_number(context)]


def mean(values: Any) -> Any:
    """The mean over the devices of a tensor or a list of tensors, with its gradient."""
    context = _context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, values)


def total(values: Any) -> Any:
    """The sum over the devices of a tensor or a list of tensors, with its gradient."""
    context = _context()
    return values if context is None else context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def part(batch: tf.Tensor) -> tf.Tensor:
    """This device's part [n / devices, …] of a batch [n, …]."""
    context = _context()
    if context is None:
        return batch
    n = batch.shape[0] // count()
    return batch[_number(context) * n : (_number(context) + 1) * n]


class Random:
    """Random numbers that a seed and the number of draws so far decide, on any devices."""

    def __init__(self, seed: int) -> None:
        """Start the sequence of `seed`."""
        self.state = tf.Variable([seed, 0], dtype=tf.int64, trainable=False)

    def uniform(self, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Uniform in [low, high), float32 of `shape`, whose first number counts images.

        The numbers of `tf.random.stateless_uniform`, which draws others under XLA.
        """
        whole = {"minval": None, "maxval": None, "dtype": tf.uint32}  # all 32 bits
        bits = self._draw(tf.random.stateless_uniform, shape, **whole)
        steps = tf.cast(tf.bitwise.bitwise_and(bits, tf.constant(2**23 - 1, tf.uint32)), tf.float32)
        span = np.float32(high) - np.float32(low)
        return steps * (span * np.float32(2.0**-23)) + low

    def normal(self, shape: Sequence[int]) -> tf.Tensor:
        """Standard normal, float32 of `shape`, whose first number counts images."""
        return self._draw(tf.random.stateless_normal, shape)

    def noise(self, shape: Sequence[int], bound: float) -> tf.Tensor:
        """Uniform on 256 levels from -bound to bound, float32 of `shape`; [images, …].

        One random byte a number: noise on every activation is a sixth of a step's time otherwise.
        """
        size = math.prod(shape) * count()
        seed = tf.identity(local(self.state).assign_add([0, 1]))
        words = tf.random.stateless_uniform([-(-size // 8)], seed, None, None, tf.uint64)
        levels = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        numbers = tf.cast(levels, tf.float32) * (2 * bound / 255) - bound
        return part(tf.reshape(numbers, [shape[0] * count(), *shape[1:]]))

    def _draw(self, distribution: Any, shape: Sequence[int], **options: Any) -> tf.Tensor:
        seed = local(self.state).assign_add([0, 1])
        whole = [shape[0] * count(), *shape[1:]]
        return part(distribution(whole, tf.identity(seed), **options))


def _context() -> Any:
    """The replica context if the step is spread over several devices."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _number(context: Any) -> int:
    return int(tf.get_static_value(context.replica_id_in_sync_group))
