"""Many pictures: worker processes, the size of the images, the drawn test part."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.data import Options, _parts, _reading
from tests.data.pictures import broken, content, put, write_classes

LARGE = content(size=(900, 900))
ROOT = Path(__file__).resolve().parent.parent.parent


def load(folder, **options):
    return data.load("folder", folder, Options(**options))


def test_workers_read_what_one_process_reads(tmp_path, monkeypatch):
    folder = write_classes(tmp_path / "mine", n=20)
    for name, (what, _) in broken().items():
        put(folder, f"train/dog/{name}", what)
    monkeypatch.setattr(_reading, "CHUNK", 7)
    monkeypatch.setattr(_reading, "_cores", lambda: 2)
    results = []
    for number, few in enumerate((1, 10**9)):
        monkeypatch.setenv("HOME", str(tmp_path / f"home{number}"))
        monkeypatch.setattr(_reading, "FEW", few)
        results.append(load(folder))
    one, other = results
    np.testing.assert_array_equal(one.train_images, other.train_images)
    assert one.digest == other.digest
    assert one.findings == other.findings


def test_a_script_is_not_run_again_by_the_workers(tmp_path):
    write_classes(tmp_path / "mine", n=4)
    put(
        tmp_path,
        "script.py",
        b"import sys; from pathlib import Path\n"
        b"from pipeline import data\n"
        b"from pipeline.data import _reading\n"
        b"_reading.CHUNK, _reading.FEW, _reading._cores = 2, 1, lambda: 2\n"
        b"print(len(data.load('folder', Path(sys.argv[1])).train_files))",
    )
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "mine"],
        env={**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_chunks_hold_every_file_once():
    sizes = [1, 2**30, 5, 5, 5, 2**24, 2**24, 2**24, 0]
    for limit in (1, 2, 100):
        chunks = _reading._chunks(sizes, limit)
        assert [i for a, b in chunks for i in range(a, b)] == list(range(len(sizes)))
        assert all(0 < b - a <= limit for a, b in chunks)
    assert _reading._chunks([], 5) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, number):
    folder = tmp_path / "mine"
    for index in range(400):
        put(folder, f"{'ab'[index % 2]}/{index}.png", LARGE)
    script = (
        "import sys; from pathlib import Path\n"
        "from pipeline import data, interrupts\n"
        "from pipeline.data import _reading\n"
        "_reading.CHUNK, _reading._cores = 8, lambda: 2\n"
        "with interrupts.listening(): data.load('folder', Path(sys.argv[1]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    cache = tmp_path / "home/.cache/ssgan/pictures"
    until = time.monotonic() + 60
    while not list(cache.glob(".making-*/scratch")):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    if number == signal.SIGINT:
        assert error.count("Traceback") == 1, "the workers say nothing"
        assert list(cache.glob("*")) == []
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a worker goes on")


# ---------------------------------------------------------------- size and channels


@pytest.mark.parametrize(
    ("shorter", "side"),
    [
        (1, 8),
        (8, 8),
        (28, 28),
        (31, 31),
        (33, 32),
        (40, 32),
        (41, 48),
        (60, 64),
        (80, 64),
        (81, 64),
        (500, 64),
    ],
)
def test_the_side_is_the_pictures_own_or_a_usual_one(tmp_path, shorter, side):
    folder = write_classes(tmp_path, size=(shorter + 9, shorter))
    assert load(folder).train_images.shape == (10, side, side, 3)
    assert load(folder, image_size=17).test_images.shape == (10, 17, 17, 3)


def test_the_median_decides_and_broken_pictures_do_not(tmp_path):
    folder = write_classes(tmp_path, n=3, size=(64, 64))
    put(folder, "train/cat/large.png", content(7, size=(3000, 2000)))
    assert load(folder).train_images.shape[1] == 64
    whole = content(8, size=(500, 500))
    for i in range(40):
        put(folder, f"train/cat/cut{i}.png", whole[: len(whole) // 2])
    assert load(folder).train_images.shape[1] == 64


def test_one_channel_if_all_pictures_are_grey(tmp_path):
    folder = write_classes(tmp_path, n=4, mode="L")
    grey = load(folder)
    assert grey.train_images.shape[3] == 1
    rgb = content(50, mode="L")
    put(folder, "train/cat/rgb.png", content(50, mode="L", kind="PNG"))
    whole = content(51, mode="RGB")
    put(folder, "train/cat/cut.png", whole[: len(whole) // 2])
    assert load(folder).train_images.shape[3] == 1
    from PIL import Image

    Image.open(folder / "train/cat/rgb.png").convert("RGB").save(folder / "train/cat/rgb.png")
    assert rgb != (folder / "train/cat/rgb.png").read_bytes()
    equal = load(folder)
    assert equal.train_images.shape[3] == 1
    kept = [i for i, name in enumerate(equal.train_files) if not name.endswith("rgb.png")]
    np.testing.assert_array_equal(equal.train_images[kept], grey.train_images)
    put(folder, "train/cat/colour.png", content(52))
    assert load(folder).train_images.shape[3] == 3


# ---------------------------------------------------------------- the drawn test part


def test_the_drawn_test_part_is_stratified_and_told(tmp_path):
    folder = write_classes(tmp_path, ("",), n=20, classes=("a", "b", "c"))
    put(folder, "single/1.png", content(99))
    put(folder, "unlabelled/1.png", content(98))
    for frac, count in ((0.2, 4), (0.01, 1), (0.99, 19)):
        dataset = load(folder, test_frac=frac)
        tested = Counter(name.partition("/")[0] for name in dataset.test_files)
        assert tested == dict.fromkeys("abc", count)
        (found,) = [f for f in dataset.findings if f.name == "drawn_test"]
        assert found.count == 3 * count
        assert f"{3 * count} of its 61 labelled pictures" in found.sentence
    smaller, larger = (set(load(folder, test_frac=f).test_files) for f in (0.2, 0.5))
    assert smaller < larger


def test_new_pictures_move_few_and_equal_ones_stay_together():
    rng = np.random.default_rng(0)
    digests = [rng.bytes(16) for _ in range(200)]
    labels = ["a", "b"] * 100
    before = _parts.drawn(labels, digests, 0.2)
    after = _parts.drawn([*labels, "a"], [*digests, rng.bytes(16)], 0.2)
    assert sum(x != y for x, y in zip(before, after, strict=False)) <= 1
    copies = [digest for digest in digests[:10] for _ in range(5)]
    tested = _parts.drawn(["a"] * 50, copies, 0.25)
    sides = {
        digest: {t for d, t in zip(copies, tested, strict=True) if d == digest} for digest in copies
    }
    assert all(len(side) == 1 for side in sides.values())
    assert sum(tested) in (10, 15)


@pytest.mark.parametrize(
    ("n", "frac", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (3, 0.9, 2), (10, 0.25, 2)]
)
def test_small_classes(n, frac, expected):
    digests = [bytes([i]) for i in range(n)]
    assert sum(_parts.drawn(["a"] * n, digests, frac)) == expected
    assert sum(_parts.drawn(["a"] * n, [b"same"] * n, frac)) == expected
