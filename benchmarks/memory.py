"""Peak memory of a training on many or large images that lie in a mapped file.

    python -m benchmarks.memory --images 20000 --size 96
    python -m benchmarks.memory --images 250000 --size 32 --steps 60
    python -m benchmarks.memory --images 20000 --size 96 --gathered

Images are made at random, a colour gradient for each of ten classes under noise; the error means
nothing. `--gathered` trains as if the images took more than half of the memory.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.config import layers as configuration
from pipeline.data.dataset import Dataset, build
from pipeline.ops import runtime
from pipeline.stages.split import choose_split
from pipeline.stages.train import train
from pipeline.training import inputs

CLASSES = 10
TESTED = 500
PART = 200  # images made at a time


def main() -> None:
    """Make the images, train, print memory after each stage."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--method", default="ssgan")
    parser.add_argument("--gathered", action="store_true")
    options = parser.parse_args()
    if options.gathered:
        inputs.LARGEST_SHARE = 0.0
    flags = {"dataset": "folder", "method": options.method, "steps": str(options.steps)}
    config = configuration.load({**flags, "label_frac": "0.01", "report_every": str(options.steps)})
    rows = [("at the start", _peak(), 0.0)]
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        dataset = _made(options.images, options.size, Path(folder) / "images.npy")
        rows.append(("data read and checked", _peak(), time.perf_counter() - begin))
        runtime.start(config.seed, config.threads, config.deterministic)
        rows.append(("TensorFlow started", _peak(), 0.0))
        begin = time.perf_counter()
        trained = train(dataset, choose_split(config, dataset), config)
        rows.append((f"{options.steps} steps trained", _peak(), time.perf_counter() - begin))
        n_weights = sum(int(np.prod(w.shape)) for w in getattr(trained.generator, "weights", []))
        stored = dataset.train_images.nbytes
    table = Table(title=f"{options.images:,} images of {options.size} x {options.size} x 3")
    for column in ("after", "peak memory, MB", "seconds"):
        table.add_column(column)
    for name, peak, seconds in rows:
        table.add_row(name, f"{peak / 1e6:,.0f}", f"{seconds:.1f}" if seconds else "")
    console = Console()
    console.print(table)
    console.print(f"training images {stored / 1e6:,.0f} MB; weights of the generator {n_weights:,}")


def _made(n: int, size: int, path: Path) -> Dataset:
    """A data set whose training images lie in a file of `path`."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    places = np.stack(np.meshgrid(ramp, ramp), axis=-1)
    slopes = random.uniform(-200, 200, (CLASSES, 2, 3)).astype(np.float32)
    kinds = np.clip(np.einsum("hwx,kxc->khwc", places, slopes) + 128, 20, 235)
    shape = (n, size, size, 3)
    stored = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    labels = np.arange(n + TESTED) % CLASSES
    for begin in range(0, n, PART):
        some = kinds[labels[begin : begin + PART]][: n - begin]
        stored[begin : begin + PART] = some + random.integers(-20, 20, some.shape)
    stored.flush()
    del stored  # its pages would count twice
    tested = kinds[labels[n:]] + random.integers(-20, 20, (TESTED, size, size, 3))
    images = np.load(path, mmap_mode="r")
    test = tested.astype(np.uint8), labels[n:]
    return build("made", str(path), (images, labels[:n]), test)


def _peak() -> int:
    """Bytes of memory at most so far, pages of mapped files among them."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
