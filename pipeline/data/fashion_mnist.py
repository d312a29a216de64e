"""Fashion-MNIST (Xiao et al. 2017): 28x28 grey clothes, 60,000 to train and 10,000 to test."""

from pathlib import Path

from pipeline.data import _idx
from pipeline.data.dataset import Dataset

BASE_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
MD5 = (  # of the gzipped files, in the order of _idx.FILES
    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "25c81989df183df01b3e8a0aad5dffbe",
    "bef4ecab320f06d8554ea6380940ec79",
    "bb300cfdad3c16e7a12a480ee83cd310",
)
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load(data_dir: Path | None) -> Dataset:
    """Load from the IDX files in data_dir, or from the cache, downloading once; see `_idx.load`."""
    return _idx.load("fashion_mnist", CLASS_NAMES, data_dir, BASE_URL, MD5)
