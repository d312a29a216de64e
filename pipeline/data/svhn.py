"""SVHN (Netzer et al. 2011), cropped: 32x32 colour house numbers, 73,257 to train, 26,032 to test.

Two MATLAB files (version 5, no pickle) with X [32, 32, 3, n] and y [n, 1]: 1..9, and 10 for 0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data._download import download
from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError, looked_for

BASE_URL = "http://ufldl.stanford.edu/housenumbers/"
FILES = ("train_32x32.mat", "test_32x32.mat")
MD5 = ("e26dedcc434d2e4c54c9b2d4a06d8373", "eb5a983be6a315427106f1b164d9cef3")
CLASS_NAMES = tuple("0123456789")
REMEDY = "replace the file by an intact one, or leave data_dir out to download svhn"


def load(data_dir: Path | None) -> Dataset:
    """Load SVHN, uint8 [n, 32, 32, 3], from FILES in data_dir or from the cache, downloading once.

    Subsets are welcome. Raises UserError for a missing, damaged or foreign file and for a failed
    download.
    """
    needed = " and ".join(FILES)
    if data_dir is None:
        paths = download("svhn", BASE_URL, FILES, MD5, needed)
    else:
        paths = [data_dir / name for name in FILES]
        if missing := [path.name for path in paths if not path.is_file()]:
            fault = f"has no {' and no '.join(missing)}"
            if not data_dir.is_dir():
                fault = f"is not a folder{looked_for(data_dir)}"
            raise UserError(
                f"data_dir={data_dir} {fault}; dataset=svhn needs a folder that holds {needed}; "
                "put them there, or leave data_dir out to download them"
            )
    train, test = (_read(path) for path in paths)
    return build("svhn", str(paths[0].parent), train, test, CLASS_NAMES)


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 [n, 32, 32, 3] and labels int64 [n] of one file."""
    import scipy.io

    try:
        content = scipy.io.loadmat(path, variable_names=["X", "y"])
    # A damaged file ends SciPy's reader in many ways: zlib.error, TypeError, struct.error, …
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{path}: not a readable MATLAB file ({reason}); {REMEDY}") from error
    X, y = (np.asarray(content.get(name, [])) for name in ("X", "y"))
    if X.dtype != np.uint8 or X.ndim != 4 or X.shape[:3] != (32, 32, 3) or y.size != X.shape[3]:
        raise UserError(
            f"{path}: X is {X.dtype} {X.shape} and y {y.dtype} {y.shape}, expected X uint8 "
            f"(32, 32, 3, n) and y (n, 1); {REMEDY}"
        )
    if (foreign := y[~np.isin(y, np.arange(1, 11))]).size:
        raise UserError(f"{path}: y holds {foreign[0]}, expected 1..10 (10 = 0); {REMEDY}")
    return np.ascontiguousarray(np.moveaxis(X, -1, 0)), y.ravel().astype(np.int64) % 10
