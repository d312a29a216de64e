"""The 1,797 real 8x8 digits bundled with scikit-learn: 1,437 to train, 360 to test."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError


def load(data_dir: Path | None) -> Dataset:
    """Return the digits, uint8 [n, 8, 8, 1]; raises UserError if a data_dir is given."""
    if data_dir is not None:
        # Ignored in silence, it would train on digits someone who only forgot to say dataset=.
        raise UserError(
            f"data_dir={data_dir} is given but dataset=digits comes with scikit-learn and reads no "
            "files; leave data_dir out, or say whose files these are: dataset=mnist, "
            "fashion_mnist, cifar10, svhn, npz or folder"
        )
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    # The set has no test part of its own. This one is the same for everybody: no key changes it.
    train, test = train_test_split(
        np.arange(len(images)), test_size=360, stratify=bunch.target, random_state=0
    )
    return build(
        "digits",
        "scikit-learn",
        (images[train], bunch.target[train]),
        (images[test], bunch.target[test]),
    )
