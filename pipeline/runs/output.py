"""What the commands share that read a run's model: the run of the launcher, and what they write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import tracking
from pipeline.errors import UserError


@contextmanager
def launched(kind: str, run_id: str) -> Iterator[tracking.Run | None]:
    """The run that `mlflow run` has made for this command; without the launcher none."""
    if not os.environ.get("MLFLOW_RUN_ID"):
        yield None
        return
    name, tags = f"{kind}: {tracking.run_name(run_id)}", {tracking.SOURCE: run_id}
    with tracking.open_run(kind, experiment=None, name=name, tags=tags) as run:
        yield run


def check_writable(out: Path) -> None:
    """See that something can be made at `out`, before the work is done.

    Raises:
        UserError: it cannot.
    """
    above = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(
            f"out = {str(out)!r}: {above} cannot be written; give another place by --out."
        )
