"""The ceiling of the benchmarks, the rate of TensorFlow's float32 product, and its worker process.

A process of its own: the product is given every thread, which training does not always do
(`pipeline.ops.runtime`).
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks import turns
from pipeline.ops import runtime

SIDE = 2048  # of the square matrices
FLOPS = 2 * SIDE**3  # of a product


def gemm() -> Callable[[int], float]:
    """So many products in one graph → seconds they took."""
    import tensorflow as tf

    start = tf.random.normal([SIDE, SIDE])
    factor = tf.random.normal([SIDE, SIDE], stddev=SIDE**-0.5)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
    def products(count: tf.Tensor) -> tf.Tensor:
        product = start
        for _ in tf.range(count):
            product = tf.matmul(product, factor)  # each needs the one before
        return product[0, 0]

    def run(count: int) -> float:
        begin = time.perf_counter()
        products(tf.constant(count)).numpy()
        return time.perf_counter() - begin

    run(1)
    return run


def build(order: dict[str, Any]) -> tuple[dict[str, turns.Run], dict[str, Any]]:
    """What the worker runs; of `order` it needs `config`'s threads."""
    import tensorflow as tf

    threads = order["config"]["threads"] or runtime.cores()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return {"gemm": gemm()}, {}


if __name__ == "__main__":
    turns.serve(build)
