"""How much slower a run is whose MLflow server answers late.

    python -m benchmarks.faults.slow_store --delay 0.2 --rounds 3 [--set key=value …]

A proxy before the server holds every request back for `delay` seconds. Runs with and without it
take turns. `time/train_s` is the training with all that it logs; what the run waits for at its end
is in the total.
"""

import argparse
import contextlib
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults.lost_store import Server
from benchmarks.faults.resume import Scene, ended

CHUNK = 65536


class Proxy:
    """Hands on what comes to its port; what a client sends waits."""

    def __init__(self, port: int, delay: float) -> None:
        """Listen. port: of the server; delay: seconds for every request."""
        self.port, self.delay, self.requests = port, delay, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
            threading.Thread(target=_hand_on, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        def late(content: bytes) -> None:
            if content.startswith((b"GET", b"POST", b"PUT", b"PATCH", b"DELETE")):
                self.requests += 1
                time.sleep(self.delay)

        _hand_on(client, server, late)


def _hand_on(source: socket.socket, target: socket.socket, before=lambda content: None) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(CHUNK):
            before(content)
            target.sendall(content)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def seconds(scene: Scene, flags: dict[str, str], known: set[str]) -> tuple[float, float]:
    """Of a run: training with all that it logs, and everything."""
    begin = time.monotonic()
    command = scene.start(*(part for key in flags for part in (f"--{key}", flags[key])))
    run_id = scene.run_id(command, known)
    known.add(run_id)
    code, said = ended(command)
    total = time.monotonic() - begin
    if code:
        raise SystemExit(said)
    return float(scene.client.get_run(run_id).data.metrics["time/train_s"]), total


def main(delay: float, rounds: int, given: dict[str, str]) -> int:
    """Print the medians and their ratio."""
    took = {"at once": [], f"after {delay:g} s": []}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            proxy = Proxy(server.port, delay)
            known: set[str] = set()
            scenes = [Scene(Path(folder), server.uri), Scene(Path(folder), proxy.uri)]
            for _ in range(rounds):
                for scene, held in zip(scenes, took.values(), strict=True):
                    held.append(seconds(scene, given, known))
        finally:
            server.send(signal.SIGKILL)
    table = Table("the server answers", "training", "the whole command", title="medians")
    medians = [
        [statistics.median(row[i] for row in held) for i in (0, 1)] for held in took.values()
    ]
    for what, (train, total) in zip(took, medians, strict=True):
        table.add_row(what, f"{train:.1f} s", f"{total:.1f} s")
    ratios = [late / soon for soon, late in zip(*medians, strict=True)]
    table.add_row("ratio", *(f"{ratio:.3f}" for ratio in ratios))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    print(f"{proxy.requests / rounds:.0f} requests a run")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value")
    asked = parser.parse_args()
    sys.exit(main(asked.delay, asked.rounds, dict(pair.split("=", 1) for pair in asked.set)))
