"""How much memory there is, for those who must know before they take it."""

import contextlib
from pathlib import Path

# Of control groups, versions 2 and 1.
CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def limit() -> int:
    """Bytes of memory that the machine and the container leave to this process."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for path in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(path.read_text()))
    return min(limits)


def as_gb(size: int) -> str:
    """A size in bytes as people read it: "9.9 TB", "1.2 GB"."""
    unit, of = (1e12, "TB") if size >= 1e12 else (1e9, "GB")
    return f"{size / unit:,.1f} {of}"
