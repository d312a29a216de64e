"""A store that answers at once."""

from pathlib import Path

import pytest

from pipeline.tracking import outbox


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a store that says at once when it is locked, and is tried again at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db?timeout=0.1")
    monkeypatch.setattr(outbox, "PAUSES", (0.05, 0.05))
    outbox.unsent()
    return tmp_path / "mlflow.db"
