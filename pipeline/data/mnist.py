"""MNIST (LeCun et al. 1998): 28x28 grey handwritten digits, 60,000 to train and 10,000 to test."""

from pathlib import Path

from pipeline.data import _idx
from pipeline.data.dataset import Dataset

BASE_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5 = (  # of the gzipped files, in the order of _idx.FILES
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)
CLASS_NAMES = tuple("0123456789")


def load(data_dir: Path | None) -> Dataset:
    """Load from the IDX files in data_dir, or from the cache, downloading once; see `_idx.load`."""
    return _idx.load("mnist", CLASS_NAMES, data_dir, BASE_URL, MD5)
