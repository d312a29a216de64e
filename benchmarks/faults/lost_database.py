"""The study's PostgreSQL crashes in the middle of trials and comes back.

    python -m benchmarks.faults.lost_database

Needs PostgreSQL's server programs (Debian: postgresql) and psycopg; says so and checks nothing
where they are not installed.
"""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.scene import LONG, Scene, scene, told

LEASE = 8  # seconds
AWAY = 20  # seconds, more than a lease: nobody may be taken for dead


def main() -> int:
    """Run it and print the checks."""
    programs = installed()
    if programs is None or importlib.util.find_spec("psycopg") is None:
        print("lost_database: skipped, needs PostgreSQL's initdb and pg_ctl, and psycopg.")
        return 0
    name = f"the database crashes mid-trial and is away for {AWAY} s"
    with server(programs) as database, scene(name) as it:
        _lost(it, database)
    return told([it])


def _lost(it: Scene, database: "Server") -> None:
    it.storage = database.url
    flags = {"trials": 6, "workers": 2, "lease": LEASE, "trials_per_process": 2, **LONG}
    command = it.start(**flags)
    it.training(command)
    database.control("stop", "-m", "immediate")
    time.sleep(AWAY)
    database.control("start")
    code, said = it.end(command)
    it.check("the command ends well", code == 0 and not said, f"{code} {said}")
    it.counts(6)
    lost = [t.user_attrs.get("reason") for t in it.trials() if t.state.name != "COMPLETE"]
    it.check("no trial was given up", not lost, lost or "")
    status = {run.info.status for run in it.runs()}
    it.check("every run is FINISHED", status == {"FINISHED"}, status)


class Server:
    """A PostgreSQL of its own in a folder."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Make it and start it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.programs, self.folder = programs, folder
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"
        # PostgreSQL refuses to be run by root.
        self.user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(folder, **self.user)
        self._run("initdb", "--auth=trust", "--username=postgres")
        with (folder / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\n")
            settings.write(f"unix_socket_directories = '{folder}'\n")
        self.control("start")

    def control(self, *words: str) -> None:
        """Call pg_ctl and wait until it has done so."""
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), *words)

    def _run(self, program: str, *words: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder), *words]
        extra = {**self.user, "extra_groups": []} if self.user else {}
        quiet = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        subprocess.run(command, check=True, cwd=self.folder, **quiet, **extra)


@contextmanager
def server(programs: Path) -> Iterator[Server]:
    """A new server, stopped and removed as the block ends."""
    with tempfile.TemporaryDirectory(prefix="ssgan-postgresql-") as folder:
        made = Server(programs, Path(folder))
        try:
            yield made
        finally:
            made.control("stop", "-m", "fast")


def installed() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them off the path."""
    if found := shutil.which("pg_ctl"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


if __name__ == "__main__":
    sys.exit(main())
