"""Images as arrays, and what is said of a file of them that is refused."""

import pytest

from pipeline import data
from pipeline.errors import UserError
from tests.data.files import npz_arrays, one_line

X = npz_arrays()["x_train"]


def refusal(data_dir):
    with pytest.raises(UserError) as error:
        data.load("npz", data_dir)
    return one_line(error)
