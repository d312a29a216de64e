"""Commands that must fail, and a store with a real split in it."""

import time

import pytest

from pipeline.__main__ import main
from pipeline.displays import SILENCE
from tests.command_line.common import PROGRESS, last_line, one_line, runs


@pytest.fixture
def told(capsys):
    """Runs a command that must fail; returns the one line that it says."""

    def run(*argv, code=2):
        capsys.readouterr()
        begin = time.monotonic()
        assert main(argv) == code
        out, err = capsys.readouterr()
        assert out == ""
        waited = time.monotonic() - begin > SILENCE and PROGRESS.match(err)
        return last_line(err) if waited else one_line(err)

    return run


@pytest.fixture(scope="module")
def shared(module_store):
    """A store for the module, with the run of a real split in it."""
    assert main(["split", "--label_frac", "0.1"]) == 0
    return module_store


@pytest.fixture
def split_run(shared):
    """The id of that run."""
    return next(run.info.run_id for run in runs() if run.data.tags["ssgan.kind"] == "split")
