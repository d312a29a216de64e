"""A folder of pictures as it is read."""

import numpy as np
import pytest

from pipeline import data
from pipeline.data import Options
from pipeline.errors import UserError
from tests.data.files import one_line


def load(folder, **options):
    return data.load("folder", folder, Options(**options))


def labels(dataset, part="train"):
    """(file, class name or "") of a part."""
    door = getattr(dataset, f"{part}_labels")
    names = (*dataset.class_names, "")  # -1 is the last one
    read = door.read(np.arange(len(door)), "test")
    return dict(zip(getattr(dataset, f"{part}_files"), (names[k] for k in read), strict=True))


def finding(dataset, name):
    return next((found for found in dataset.findings if found.name == name), None)


def refusal(folder, **options):
    with pytest.raises(UserError) as error:
        load(folder, **options)
    return one_line(error)
