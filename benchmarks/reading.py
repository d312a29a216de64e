"""How long a folder of pictures takes to read: the first time, and from then on.

    python -m benchmarks.reading --data_dir <folder>
    python -m benchmarks.reading --make 250000

Every reading is a process of its own, with a home of its own in a temporary folder, so that the
first one finds nothing in the cache. CPU seconds are those of the process and of its workers. Peak
memory is the process's own, the pages of the mapped images that it has touched among them.
`--make` first writes so many 32x32 pictures in ten classes, three JPEGs to a PNG, and removes them
in the end.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CLASSES = 10


def read(data_dir: Path, image_size: int | None) -> dict[str, float]:
    """Read the folder in this process; returns what it took."""
    from pipeline import data

    begin, spent = time.perf_counter(), time.process_time()
    dataset = data.load("folder", data_dir, data.Options(image_size=image_size))
    seconds, own = time.perf_counter() - begin, time.process_time() - spent
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "CPU seconds": own + children.ru_utime + children.ru_stime,
        # Kilobytes, but bytes on macOS.
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1e6 if sys.platform == "darwin" else 1e3),
        "pictures": len(dataset.train_files) + len(dataset.test_files),
        "side": dataset.train_images.shape[1],
        "skipped": sum(f.count for f in dataset.findings if f.name == "unreadable"),
    }


def measure(data_dir: Path, image_size: int | None, home: Path) -> dict[str, float]:
    """What a reading in a process of its own took."""
    size = [] if image_size is None else ["--image_size", str(image_size)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reading", "--here", "--data_dir", str(data_dir), *size],
        cwd=ROOT,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    took: dict[str, float] = json.loads(done.stdout)
    return took


def write(folder: Path, count: int) -> None:
    """Write so many pictures, all different, into folders train/<class>."""
    rng = np.random.default_rng(0)
    for number in range(count):
        to = folder / "train" / f"class{number % CLASSES}"
        if number < CLASSES:
            to.mkdir(parents=True)
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
        picture = small.resize((32, 32), Image.Resampling.BILINEAR)
        picture.save(to / f"{number:07}.{'png' if number // CLASSES % 4 == 3 else 'jpg'}")


def tell(readings: list[dict[str, float]]) -> None:
    """Print what the first and the second reading took."""
    pictures, side, skipped = (int(readings[0].pop(k)) for k in ("pictures", "side", "skipped"))
    table = Table(title=f"{pictures:,} pictures as {side}x{side}, {skipped:,} files skipped")
    for name in ("", "first reading", "second reading"):
        table.add_column(name, justify="right" if name else "left")
    for name in readings[0]:
        table.add_row(name, *(f"{reading[name]:,.2f}" for reading in readings))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data_dir", type=Path)
    what.add_argument("--make", type=int, metavar="N", help="read N pictures made for it")
    parser.add_argument("--image_size", type=int)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(read(options.data_dir, options.image_size)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.data_dir and options.data_dir.absolute()
        if options.make:
            folder = Path(temporary) / "pictures"
            write(folder, options.make)
        home = Path(temporary) / "home"
        home.mkdir()
        tell([measure(folder, options.image_size, home) for _ in range(2)])


if __name__ == "__main__":
    main()
