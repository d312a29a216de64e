"""What the tests of the configuration share."""

import itertools

import pytest
import yaml

from pipeline.config import layers as config
from pipeline.config import named
from pipeline.errors import UserError

METHODS, DATASETS = named.names("method"), named.names("dataset")
ALL = list(itertools.product(METHODS, DATASETS))
FM = "feature_matching"
MANY = 10**6  # images: as long as a method is made for


def read(kind, name):
    return yaml.safe_load((named.CONFIGS / kind / f"{name}.yaml").read_text()) or {}


def mistake(flags):
    """The one line that the flags give."""
    with pytest.raises(UserError) as caught:
        config.load(flags)
    line = str(caught.value)
    assert "\n" not in line
    return line
