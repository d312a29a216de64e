"""Where studies are kept: a journal file, any database Optuna knows, or a gRPC proxy of one."""

import contextlib
import functools
import logging
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import optuna
from filelock import FileLock
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from experiments.search import journal
from pipeline import interrupts, progress
from pipeline.errors import UserError, cause
from pipeline.masking import masked

JOURNAL = Path("studies") / "journal.log"
GRPC = "grpc://"
GRPC_SECONDS = 10  # for the proxy to answer
PATIENCE = 600  # seconds to wait for a database that is away
FIRST_PAUSE = 0.5  # seconds before it is asked again
# What a database or a proxy that is away raises.
AWAY = (SQLAlchemyError, StorageInternalError, OSError, grpc.RpcError)
CREATION = (1.0, 2.0, 4.0)  # seconds between attempts while others make the tables
T = TypeVar("T")

optuna.logging.set_verbosity(optuna.logging.ERROR)
logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def patiently(ask: Callable[[], T]) -> T:
    """Ask the storage, again and again while its database is away, up to `PATIENCE` seconds.

    Ctrl-C waits for the answer: a driver that is interrupted tells it as a database that is away.
    """
    end, pause = time.monotonic() + PATIENCE, FIRST_PAUSE
    while True:
        interrupts.heed()
        try:
            with interrupts.undisturbed():
                return ask()
        except AWAY as error:
            interrupts.heed()
            if time.monotonic() + pause > end:
                raise
            if pause == FIRST_PAUSE:
                progress.note(f"waiting for the storage of the trials: {masked(cause(error))}")
            time.sleep(pause)
            pause = min(2 * pause, 10.0)


def location(storage: str | None) -> str:
    """The storage that a setting means, absolute, so that every process means the same."""
    if storage and "://" in storage:
        return storage
    return str((Path(storage) if storage else JOURNAL).expanduser().resolve())


def open_storage(place: str) -> BaseStorage:
    """Open the storage that `location` names.

    Raises:
        UserError: it cannot be reached or written, or its driver is not installed.
    """
    with told(place):
        return connected(place)


def connected(place: str) -> BaseStorage:
    """Open a storage as `open_storage` does; what goes wrong is raised as it is."""
    if place.startswith(GRPC):
        return _proxy(place)
    if "://" in place:
        # Optuna's cache for it, which `load_study` would make anew, without what was read before.
        return optuna.storages.get_storage(_database(place))
    return _journal(Path(place))


def created(storage: BaseStorage, name: str, objectives: int) -> bool:
    """Make a study that minimises so many objectives; False if there is one of this name."""
    try:
        storage.create_new_study([StudyDirection.MINIMIZE] * objectives, name)
    except DuplicatedStudyError:
        return False
    return True


def serve(place: str, host: str, port: int) -> None:
    """Serve a database to workers over gRPC until interrupted: one connection, not hundreds.

    Raises:
        UserError: the database cannot be used, or nothing can be served at this address.
    """
    with told(place):
        storage = open_storage(place)
        _check_free(host, port)
        print(f"{GRPC}{host}:{port} serves {masked(place)}; Ctrl-C ends it.", flush=True)
        optuna.storages.run_grpc_proxy_server(storage, host=host, port=port)


def _check_free(host: str, port: int) -> None:
    """Refuse an address that is in use, or is none of this machine's: gRPC tells it too late."""
    name = host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        socket.create_server((name, port), family=family).close()
    except OSError as error:
        raise UserError(
            f"address = {host}:{port}: cannot be served at ({cause(error)}); give another one "
            "(--address)."
        ) from None


@contextmanager
def told(place: str) -> Iterator[None]:
    """Tell a storage that cannot be used in one line."""
    try:
        yield
    except (
        SQLAlchemyError,
        OSError,
        ImportError,
        ValueError,
        StorageInternalError,
    ) as error:
        hint = "is the database running, and may this user write to it?"
        if isinstance(error, ImportError | NoSuchModuleError | ArgumentError):
            hint = "PostgreSQL needs postgresql+psycopg://… and pip install 'psycopg[binary]'."
        raise UserError(
            f"storage = {masked(place)}: cannot be used ({cause(error)}); {hint}"
        ) from None


def _journal(path: Path) -> BaseStorage:
    path.parent.mkdir(parents=True, exist_ok=True)
    if found := journal.mend(path):
        progress.warn(f"{found}.")
    try:
        return JournalStorage(journal.WholeLines(str(path)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise journal.told_damage(path) or ValueError("no journal of Optuna") from None


class _SQLite(RDBStorage):
    """SQLite locks no row, so of two processes that claim a trial both would get it."""

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """One process after the other."""
        file = self.engine.url.database
        in_file = file and file != ":memory:"
        alone = FileLock(f"{file}.claims") if in_file else contextlib.nullcontext()
        with alone:
            return super().set_trial_state_values(trial_id, state, values)


def _database(place: str) -> BaseStorage:
    """A database; of several commands that make its tables at once all but one are refused."""
    # A connection that died meanwhile is replaced, so that a restarted database is enough.
    kind = _SQLite if make_url(place).get_backend_name() == "sqlite" else RDBStorage
    make = functools.partial(kind, place, engine_kwargs={"pool_pre_ping": True})
    for pause in CREATION:
        try:
            return make()
        except DBAPIError as error:
            if not isinstance(error, IntegrityError) and "already exists" not in str(error):
                raise
            time.sleep(pause)
    return make()


def _proxy(place: str) -> BaseStorage:
    host, _, port = place.removeprefix(GRPC).partition(":")
    try:
        storage = optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
        storage.wait_server_ready(timeout=GRPC_SECONDS)
    except (grpc.RpcError, grpc.FutureTimeoutError):
        raise OSError(f"no answer within {GRPC_SECONDS} s") from None
    return storage
