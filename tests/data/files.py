"""Small files of every kind that the data sets read."""

import gzip
import struct

import numpy as np

from pipeline.data import _idx


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist_arrays(n_train=40, n_test=20):
    rng = np.random.default_rng(0)
    return [
        array
        for n in (n_train, n_test)
        for array in (
            rng.integers(0, 256, (n, 28, 28), np.uint8),
            np.arange(n, dtype=np.uint8) % 10,
        )
    ]


def write_idx(folder, spelling="{}", arrays=None):
    folder.mkdir(exist_ok=True)
    for file, array in zip(_idx.FILES, arrays or mnist_arrays(), strict=True):
        name = spelling.format(file)
        content = idx_bytes(array)
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    return folder


def npz_arrays(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (12, 5, 6, 3), np.uint8),
        "y_train": np.array([0, 1, 2, -1] * 3),
        "x_test": rng.integers(0, 256, (6, 5, 6, 3), np.uint8),
        "y_test": np.arange(6) % 3,
    }
    return {name: array for name, array in (arrays | changes).items() if array is not None}


def write_npz(path, **changes):
    np.savez_compressed(path, **npz_arrays(**changes))
    return path


def one_line(error):
    message = str(error.value)
    assert "\n" not in message
    return message
