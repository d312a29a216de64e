"""How long the stages took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

REST = "log"  # what belongs to no other section: keeping the record in MLflow


class Clock:
    """Shares out the seconds: each belongs to one section, the innermost that is open."""

    def __init__(self) -> None:
        """Start now."""
        self._begin = self._since = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._open = [REST]

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count the block's seconds to the section `name`, but for those of sections inside."""
        self._book()
        self._open.append(name)
        try:
            yield
        finally:
            self._book()
            self._open.pop()

    def metrics(self) -> dict[str, float]:
        """Seconds so far: `time/<section>_s`, which add up to `time/total_s`."""
        self._book()
        seconds = {name: s for name, s in self._seconds.items() if name != REST}
        seconds |= {REST: self._seconds[REST], "total": self._since - self._begin}
        return {f"time/{name}_s": s for name, s in seconds.items()}

    def _book(self) -> None:
        now, name = time.perf_counter(), self._open[-1]
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._since
        self._since = now
