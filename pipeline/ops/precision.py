"""Whether this machine multiplies bfloat16 so much faster that training should."""

import functools
import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.ops import runtime

PROCESSOR = Path("/proc/cpuinfo")
INSTRUCTIONS = {"amx_bf16", "avx512_bf16"}  # without them bfloat16 is rounding and nothing more
FASTER = 2.5  # times: AMX is above four, AVX-512 below two, so no timing falls out otherwise
SIZE = 1024  # of the square matrices that are timed
ROUNDS = 5


def decided(config: Config) -> Config:
    """The configuration with "auto" decided: bfloat16 on a CPU where products gain `FASTER` times.

    Float32 on GPUs: there float32 has short products of its own already (TensorFloat-32).
    """
    if config.precision != "auto":
        return config
    fast = not runtime.has_gpu() and gain() >= FASTER
    return config.model_copy(update={"precision": "bfloat16" if fast else "float32"})


@functools.cache
def gain() -> float:
    """How many times faster a product of matrices is in bfloat16 than in float32 here.

    1.0 without timing where the processor has no instructions for it.
    """
    try:
        flags = set(PROCESSOR.read_text(encoding="ascii", errors="ignore").split())
    except OSError:
        return 1.0  # not Linux
    if not flags & INSTRUCTIONS:
        return 1.0
    return _seconds(tf.float32) / _seconds(tf.bfloat16)


def _seconds(dtype: Any) -> float:
    """The fastest of some products of two matrices."""
    matrix = tf.cast(tf.random.stateless_normal([SIZE, SIZE], [0, 0]), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)))
    product()
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        product().numpy()
        taken.append(time.perf_counter() - begin)
    return min(taken)
