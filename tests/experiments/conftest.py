"""Storages that a study may lie in."""

import pytest


@pytest.fixture(params=["journal.log", "sqlite"])
def place(request, tmp_path):
    """A new storage of each kind, as `open_storage` takes it."""
    return f"sqlite:///{tmp_path}/s.db" if request.param == "sqlite" else str(tmp_path / "j.log")
