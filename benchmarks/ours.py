"""Our side of the benchmarks: a method's compiled program, and the worker process that runs it.

The only module here that knows how `pipeline.training` is driven.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import turns
from pipeline.config import layers as configuration
from pipeline.config.schema import Config


@dataclass(frozen=True)
class Program:
    """A method ready to run, compiled."""

    method: Any  # pipeline.methods.Method
    # By the kind of step, "step" and perhaps "warm_up" and "generate": takes so many, gives the
    # seconds they took.
    runs: dict[str, Callable[[int], float]]


def program(config: Config, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]]) -> Program:
    """Build and compile `config.method`.

    Args:
        config: batch sizes, networks, threads and all else.
        images: uint8 [n, h, w, c], the pool.
        labels: int [l], the labels of the first l images.
    """
    from pipeline.ops import runtime

    runtime.start(config.seed, config.threads, config.deterministic)
    from pipeline.methods import Arrays
    from pipeline.networks.spec import Spec
    from pipeline.training.inputs import Inputs
    from pipeline.training.program import prepare
    from pipeline.training.steps import first_step

    some = images[:: max(1, len(images) // 1000)]
    n_classes = int(labels.max()) + 1
    spec = Spec(
        image_shape=images.shape[1:],
        n_classes=n_classes,
        class_balance=(np.bincount(labels) / len(labels)).astype(np.float32),
        pixel_scale=1 / max(float(np.std(some / 255)), 1e-3),
        first_images=some,
    )
    compiled = prepare(config, spec)
    compiled.images.assign(images)
    labelled = np.arange(len(labels))
    arrays = Arrays(
        images, np.arange(len(images)), labelled, labels.astype(np.int64), np.arange(0), ""
    )
    if compiled.method.warm_up_share:  # what a graph would give; any labels take as long
        compiled.method.graph.labels.assign(np.arange(len(images), dtype=np.int32) % n_classes)
    inputs, first = Inputs(compiled, arrays, config), first_step(compiled.method, config)

    def runner(phase: str, begin: int, end: int) -> Callable[[int], float]:
        done = begin

        def run(steps: int) -> float:
            nonlocal done
            start = time.perf_counter()
            compiled.phases[phase].run(*inputs.steps(done, steps, begin, end, phase)).numpy()
            done += steps
            return time.perf_counter() - start

        run(1)
        return run

    runs = {"warm_up": runner("warm_up", 0, first)} if first else {}
    runs["step"] = runner("step", first, config.steps)
    if more := compiled.method.generator_steps:
        compiled.method.before_generator(arrays)
        runs["generate"] = runner("generate", config.steps, config.steps + more)
    return Program(compiled.method, runs)


def build(order: dict[str, Any]) -> tuple[dict[str, turns.Run], dict[str, Any]]:
    """What the worker runs: steps of a `phase`.

    `order` has that, `config` (flat), `images` and `labels` (.npy files).
    """
    from benchmarks import flops

    phase = order["phase"]
    config = configuration.load({}, base=order["config"])
    images = np.load(order["images"])
    ours = program(config, images, np.load(order["labels"]))
    count = flops.generate if phase == "generate" else flops.step
    return {"steps": ours.runs[phase]}, {"flops": count(ours.method, config, images.shape[1:])}


if __name__ == "__main__":
    turns.serve(build)
