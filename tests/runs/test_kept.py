"""Which ends of a run tell how to go on, and what stays of its folder."""

import numpy as np
import pytest

from pipeline.errors import Diverged, ForeignCheckpoint
from pipeline.runs.kept import Folder, advising

HOW = "python -m pipeline run --resume 1"


@pytest.fixture
def folder(tmp_path):
    """One with a checkpoint in it."""
    folder = Folder(tmp_path / "run")
    folder.checkpoints("method").save({"key": "mine"}, {"values": np.zeros(3)})
    return folder


def test_an_end_tells_how_to_go_on(folder):
    with pytest.raises(KeyboardInterrupt) as told, advising(folder, HOW):
        raise KeyboardInterrupt
    assert told.value.__notes__ == [f"go on with: {HOW}"]


def test_what_would_be_refused_again_is_not_advised_and_stays(folder):
    with pytest.raises(ForeignCheckpoint, match="without resume") as told, advising(folder, HOW):
        folder.checkpoints("method").last("another training")
    assert not hasattr(told.value, "__notes__")
    assert folder.goes_on()


def test_of_a_training_that_diverged_nothing_stays(folder):
    with pytest.raises(Diverged) as told, advising(folder, HOW):
        raise Diverged("a loss is not finite")
    assert not hasattr(told.value, "__notes__")
    assert not folder.goes_on()
