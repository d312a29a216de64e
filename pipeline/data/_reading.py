"""All files of a folder looked at and decoded, by worker processes if there are many."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pipeline import progress
from pipeline.data import _decoding
from pipeline.data._decoding import Decoded, Look, Target
from pipeline.errors import RunFailure

R = TypeVar("R")
FEW = 300  # files that are read before a worker process has started
CHUNK = 256  # files of one task, at most
CHUNK_BYTES = 1 << 24  # of their images, at most
FILE_BYTES = 1 << 25  # of the files themselves, at most


def look(root: Path, names: Sequence[str], sizes: Sequence[int]) -> list[Look]:
    """Look at every file, in the order of the names; `sizes` are those of the files in bytes."""
    progress.phase("looking through pictures", total=len(names), unit="files")
    chunks = _chunks(sizes, CHUNK)
    tasks = [(_decoding.look, (str(root), names[a:b])) for a, b in chunks]
    return _joined(tasks, chunks)


def decode(
    root: Path, names: Sequence[str], sizes: Sequence[int], target: Target, scratch: Path
) -> list[Decoded]:
    """Decode every file into its row of the file `scratch`, uint8 [n, h, w, c].

    Raises OSError if that cannot be written.
    """
    height, width, channels = target.shape
    image_bytes = height * width * channels
    with scratch.open("wb") as file:
        file.truncate(len(names) * image_bytes)
    progress.phase("reading pictures", total=len(names), unit="pictures")
    chunks = _chunks(sizes, max(1, min(CHUNK, CHUNK_BYTES // image_bytes)))
    tasks = [
        (_decoding.decode, (str(root), names[a:b], target, str(scratch), a)) for a, b in chunks
    ]
    return _joined(tasks, chunks)


def _chunks(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Ranges of files for one task each: `limit` files at most, and not too many bytes."""
    chunks, begin, held = [], 0, 0
    for index, size in enumerate(sizes):
        if index > begin and (index - begin == limit or held + size > FILE_BYTES):
            chunks.append((begin, index))
            begin, held = index, 0
        held += size
    return [*chunks, (begin, len(sizes))] if begin < len(sizes) else chunks


def _joined(
    tasks: Sequence[tuple[Callable[..., list[R]], tuple[Any, ...]]],
    chunks: Sequence[tuple[int, int]],
) -> list[R]:
    """Results of all tasks, in their order."""
    workers = min(_cores(), len(tasks))
    results: list[list[R]] = [[] for _ in tasks]
    done = 0
    many = bool(chunks) and chunks[-1][1] >= FEW and workers > 1
    for index, result in _in_workers(tasks, workers) if many else _here(tasks):
        results[index] = result
        done += len(result)
        progress.advance(done)
    return [row for result in results for row in result]


def _here(
    tasks: Sequence[tuple[Callable[..., list[R]], tuple[Any, ...]]],
) -> Iterator[tuple[int, list[R]]]:
    """Work the tasks off in this process."""
    for index, (function, arguments) in enumerate(tasks):
        yield index, function(*arguments)


def _in_workers(
    tasks: Sequence[tuple[Callable[..., list[R]], tuple[Any, ...]]], workers: int
) -> Iterator[tuple[int, list[R]]]:
    """Work the tasks off in processes of their own, which end with the last one or an exception."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _decoding.begin_worker)
    futures: dict[Future[list[R]], int] = {}
    try:
        with _starting():
            for index, (function, arguments) in enumerate(tasks):
                futures[pool.submit(function, *arguments)] = index
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    except BrokenProcessPool:
        raise RunFailure(
            "a process that decodes pictures was ended from outside, or by lack of memory; try "
            "again with more memory, or with smaller pictures"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """Processes that start meanwhile get no Ctrl-C, and do not run the user's script once more.

    This process gets it when they have started: half a start would be told by a traceback.
    """
    late: list[int] = []
    resource_tracker.ensure_running()  # its start would let signals through again
    blocks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if blocks else ()
    handlers = {}
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda number, _: late.append(number))
    # multiprocessing would load the main module in every worker; they need nothing of it.
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if late:
            signal.raise_signal(late[0])


def _cores() -> int:
    """Cores that machine, affinity and container leave to this process."""
    from joblib import cpu_count

    return int(cpu_count())
