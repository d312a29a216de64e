"""How long the stages took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up the seconds of the stages."""

    def __init__(self) -> None:
        """Start now."""
        self._begin, self._seconds = time.perf_counter(), dict[str, float]()

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Count the block's seconds to the stage `name`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - begin
            self._seconds[name] = self._seconds.get(name, 0.0) + taken

    def metrics(self) -> dict[str, float]:
        """Seconds so far: `time/<stage>_s` and `time/total_s`."""
        total = time.perf_counter() - self._begin
        return {f"time/{name}_s": s for name, s in {**self._seconds, "total": total}.items()}
