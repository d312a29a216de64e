"""A cluster on this machine for the time of a test: PostgreSQL, an MLflow server, two Ray nodes.

Every program is started in a session of its own and with a variable that marks it, so that all of
them, and all that they start, are found again and ended, whatever the test did.
"""

import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
MARK = "SSGAN_TEST_CLUSTER"
SECONDS = 120  # for a server to come up, on a busy machine
STOPPING = 5  # seconds for everything to end by itself


class Cluster:
    """The servers' addresses, and commands that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid.uuid4().hex
        self.sessions: set[int] = set()
        self.database, self.mlflow, self.head = free_port(), free_port(), free_port()
        self.tracking = f"http://127.0.0.1:{self.mlflow}"
        self.storage = self.url("optuna")
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "RAY_"))},
            MARK: self.mark,
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_TRACKING_URI": self.tracking,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": f"127.0.0.1:{self.head}",
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def url(self, database: str) -> str:
        """SQLAlchemy's address of a database."""
        return f"postgresql+psycopg://ssgan@127.0.0.1:{self.database}/{database}"

    def start(self, name: str, *words: object, **more: object) -> subprocess.Popen[str]:
        """Start a program; what it says goes to `<name>.log`."""
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [str(word) for word in words],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                **{"env": self.environment, **more},
            )
        self.sessions.add(process.pid)
        return process

    def said(self, name: str) -> str:
        """What a program has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def search(self, name: str, *flags: object, **environment: str) -> subprocess.Popen[str]:
        """Start the search's command line."""
        given = ["--workers", "ray", "--storage", self.storage, *flags]
        words = [sys.executable, "-m", "experiments", "search", *given]
        return self.start(name, *words, env={**self.environment, **environment})

    def processes(self) -> list[int]:
        """All processes that are here because of this cluster."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or it is not ours
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                # A process that changes its title, as Ray's do, may lose its variables.
                marked = f"{MARK}={self.mark}".encode() in (process / "environ").read_bytes()
                if fields[0] != "Z" and (marked or int(fields[3]) in self.sessions):
                    found.append(int(process.name))
        return found

    def workers(self) -> list[int]:
        """Ray's processes that hold a task."""
        return [pid for pid in self.processes() if b"ray::_in_task" in words_of(pid)]


def words_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(found: Callable[[], object], what: str, seconds: float = SECONDS) -> object:
    """What `found` gives once it is true; it may raise OSError until then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if value := found():
                return value
        except OSError:
            pass
        time.sleep(0.3)
    pytest.fail(f"{what}: not within {seconds:g} s")


def postgres_program(name: str) -> str | None:
    """A program of PostgreSQL's server; Debian keeps them off the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Everything up; everything down afterwards."""
    for module in ("ray", "psycopg"):
        pytest.importorskip(
            module, reason=f"{module} is missing: uv pip install -r requirements-ray.txt"
        )
    if not postgres_program("initdb"):
        pytest.skip("PostgreSQL's server is missing: apt-get install postgresql")
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # to stop everything too
    # Sockets lie in it, whose paths must be short.
    with tempfile.TemporaryDirectory(prefix="ssgan-", dir="/tmp", ignore_cleanup_errors=True) as at:
        cluster = Cluster(Path(at))
        try:
            _start(cluster)
            yield cluster
        finally:
            _stop(cluster)
            signal.signal(signal.SIGTERM, before)


def _start(cluster: Cluster) -> None:
    _start_postgres(cluster)
    nodes = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=100000000", "--block"]
    nodes += ["--min-worker-port=0", "--max-worker-port=0"]  # any that are free
    head = [f"--port={cluster.head}", f"--temp-dir={cluster.folder}/ray"]
    head += [f"--ray-client-server-port={free_port()}", "--include-dashboard=false"]
    server = ["--host", "127.0.0.1", "--port", cluster.mlflow, "--workers", 1]
    server += ["--backend-store-uri", cluster.url("mlflow")]
    server += ["--artifacts-destination", cluster.folder / "artifacts"]
    cluster.start("head", "ray", "start", "--head", *head, *nodes)
    cluster.start("mlflow", "mlflow", "server", *server)
    up = "Ray runtime started"
    eventually(lambda: up in cluster.said("head"), "Ray's head")
    cluster.start("node", "ray", "start", f"--address=127.0.0.1:{cluster.head}", *nodes)
    eventually(lambda: up in cluster.said("node"), "Ray's second node")
    health = f"{cluster.tracking}/health"
    eventually(lambda: urllib.request.urlopen(health, timeout=5), "MLflow's server")


def _start_postgres(cluster: Cluster) -> None:
    import psycopg

    # It refuses to run as root.
    user = "postgres" if os.getuid() == 0 else getpass.getuser()
    owner = pwd.getpwnam(user)
    cluster.folder.chmod(0o755)
    data = cluster.folder / "postgres"
    data.mkdir()
    os.chown(data, owner.pw_uid, owner.pw_gid)
    lower = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    lower = lower if os.getuid() == 0 else {}
    flags = ["-D", data / "data", "--auth=trust", "--username=ssgan", "--no-sync"]
    made = cluster.start("initdb", postgres_program("initdb"), *flags, **lower)
    assert made.wait(SECONDS) == 0, cluster.said("initdb")
    flags = ["-D", data / "data", "-p", cluster.database, "-k", data]
    flags += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    cluster.start("postgres", postgres_program("postgres"), *flags, **lower)
    address = cluster.url("postgres").replace("+psycopg", "")

    def up() -> bool:
        try:
            with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
                for database in ("optuna", "mlflow", "raced"):
                    connection.execute(f"create database {database}")
        except psycopg.OperationalError:
            return False
        return True

    eventually(up, "PostgreSQL")


def _stop(cluster: Cluster) -> None:
    """End what is still there, politely and then not."""
    # PostgreSQL has its own: fast shutdown, immediate shutdown.
    for sign, postgres in ((signal.SIGTERM, signal.SIGINT), (signal.SIGKILL, signal.SIGQUIT)):
        for pid in cluster.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, postgres if _is_postgres(pid) else sign)
        end = time.monotonic() + STOPPING
        while cluster.processes() and time.monotonic() < end:
            time.sleep(0.2)


def _is_postgres(pid: int) -> bool:
    return Path(words_of(pid).partition(b"\0")[0].decode()).name.startswith("postgres")
