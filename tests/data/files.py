"""Small files of every kind that the data sets read."""

import contextlib
import functools
import gzip
import http.server
import struct
import tarfile
import threading

import numpy as np
import scipy.io

from pipeline.data import _idx, cifar10, svhn


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


def colour_arrays(n, seed):
    """Images uint8 [n, 32, 32, 3] and labels 0..9."""
    images = np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), np.uint8)
    return images, np.arange(n, dtype=np.uint8) % 10


def cifar10_records(images, labels):
    planes = np.moveaxis(images, -1, 1).reshape(len(images), -1)
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


def write_cifar10(folder):
    """The six files of the binary version, with 10 or 20 records each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(cifar10.FILES):
        (folder / name).write_bytes(cifar10_records(*colour_arrays(10 + 10 * (i % 2), i)))
    return folder


def pack_cifar10(folder, archive):
    """The archive as it is published: the files below cifar-10-batches-bin, and a text."""
    (folder / "readme.html").write_text("<html>")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return archive


def write_svhn(folder, **changes):
    """Both MATLAB files, packed as they are published; the changes are those of train."""
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(svhn.FILES):
        images, labels = colour_arrays(20, i)
        content = {"X": np.moveaxis(images, 0, -1), "y": np.where(labels, labels, 10)[:, None]}
        content |= changes if i == 0 else {}
        scipy.io.savemat(folder / name, content, do_compression=True)
    return folder


@contextlib.contextmanager
def served(folder):
    """A file server on 127.0.0.1; gives its address, with a slash at the end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


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
