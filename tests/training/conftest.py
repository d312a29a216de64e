"""TensorFlow is set up once a file, as a run sets it up."""

import pytest

from pipeline.ops import runtime


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)
