"""A folder with a copy of the project, in which a document's commands are run in their order."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
from PIL import Image

from tests.data.files import mnist_arrays, write_idx
from tests.docs.commands import ROOT, Command, files

COPIED = ("pipeline", "experiments", "benchmarks", "configs", "MLproject", "conda.yaml", "Makefile")
SECONDS, GRACE = 600, 30  # for one command, and for one to end, on a busy machine
MAKE = ("make", "--old-file=.venv/.ready")  # the environment is the test's
SERVERS = r"^make ui\b|^mlflow models serve\b"
RUN_ID = re.compile(r"^run +([0-9a-f]{32})$", re.MULTILINE)


class Scene:
    """Runs the commands of one document; `facts` are what its placeholders stand for."""

    def __init__(self, folder: Path, document: Path) -> None:
        self.folder, self.document = folder, document
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, folder / name)
        for name, text in files(document).items():
            (folder / name).write_text(text, encoding="utf-8")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "TMPDIR": str(folder / "tmp"),  # `mlflow run` leaves an empty folder there
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        (folder / "tmp").mkdir()
        self.facts: dict[str, str] = {}
        self.makers: dict[str, Callable[[], str]] = {
            "folder with MNIST": lambda: str(write_idx(folder / "idx", arrays=mnist_arrays(200))),
            "folder": lambda: str(folder / "my_images"),
            "run id": self._trained,
            "killed run id": self._killed,
            "model id": lambda: self._model("classifier"),
            "generator id": lambda: self._model("generator"),
        }
        self._pictures()

    def run(self, command: Command) -> str:
        """Run a command on its small budget; returns what it printed.

        Raises:
            AssertionError: it failed, or nobody knows what a placeholder stands for.
        """
        assert command.small, f"{command}: say in tests/docs/commands.py how it is run"
        text = re.sub(r"<([\w ]+)>", lambda found: self._fact(found[1]), command.small)
        text = text.replace("/tmp/elsewhere", str(self.folder / "elsewhere"))
        if command.language == "python":
            return self._call([sys.executable, "-c", text], command)
        if re.search(SERVERS, text):
            return self._serve(text, command)
        if text.startswith("make "):
            recipe = self._call([*MAKE, "--dry-run", *text.split()[1:]], command)
            made = [Command(command.document, command.line, line) for line in recipe.splitlines()]
            return "".join(self.run(one) for one in made)
        if "mine.npz" in text and not (self.folder / "mine.npz").exists():
            self._make_npz()
        printed = self._call(["bash", "-ec", text], command)
        for run_id in RUN_ID.findall(printed):
            stage = re.search(r"pipeline (split|train)\b", text)
            kind = {"split": "id of the split", "train": "id of the training"}
            self.facts[kind[stage[1]] if stage else "run id"] = run_id
        return printed

    def _call(self, words: list[str], command: Command) -> str:
        started = self._start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = started.communicate(timeout=SECONDS)
        finally:
            end(started)
        assert started.returncode == 0, f"{command}\n{words}\n{out}\n{err}"
        return str(out)

    def _start(self, words: list[str], **options: object) -> subprocess.Popen:
        there = {"cwd": self.folder, "env": self.environment, "start_new_session": True}
        return subprocess.Popen(words, **there, **options)

    def _fact(self, name: str) -> str:
        if name not in self.facts:
            assert name in self.makers, f"<{name}>: say in tests/docs/scene.py what it stands for"
            self.facts[name] = self.makers[name]()
        return self.facts[name]

    def _trained(self) -> str:
        self.run(Command(self.document.name, 0, "python -m pipeline run"))
        return self.facts["run id"]

    def _killed(self) -> str:
        """A run that was killed after its first checkpoint."""
        place = self.folder / "killed"
        text = f"python -m pipeline run --checkpoint_dir {place} --checkpoint_every 0"
        started = self._start(text.split(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        last = time.monotonic() + SECONDS
        while not (found := list(place.glob("*/*/*.npz"))):
            assert started.poll() is None
            assert time.monotonic() < last
            time.sleep(0.1)
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        return found[0].parents[1].name

    def _model(self, role: str) -> str:
        client = mlflow.MlflowClient(f"sqlite:///{self.folder}/mlflow.db")
        run = client.get_run(self._fact("run id"))
        found = client.search_logged_models(
            [run.info.experiment_id],
            f"source_run_id = '{run.info.run_id}' AND tags.`ssgan.role` = '{role}'",
        )
        return found[0].model_id

    def _serve(self, text: str, command: Command) -> str:
        """Start a server on a free port, wait until it answers, and stop it."""
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = [*MAKE, "ui", f"PORT={port}"]
        if not text.startswith("make"):
            words = re.sub(r"-p \d+", f"-p {port}", text).split()
        log = self.folder / f"{port}.log"
        with log.open("w") as output:
            server = self._start(words, stdout=output, stderr=subprocess.STDOUT)
        try:
            last = time.monotonic() + SECONDS
            while not answers(f"http://127.0.0.1:{port}/health"):
                said = f"{command}\n{words}\n{log.read_text()}"
                assert server.poll() is None, said
                assert time.monotonic() < last, said
                time.sleep(0.3)
        finally:
            end(server)
        return log.read_text()

    def _pictures(self) -> None:
        """The folders of pictures that docs/own-images.md speaks of."""
        random = np.random.default_rng(0)
        parts = {f"my_images/labelled/{name}": 30 for name in ("cat", "dog")}
        parts |= {"my_images/unlabelled": 9, "new_pictures": 3}
        for part, n in parts.items():
            there = self.folder / part
            there.mkdir(parents=True)
            for i in range(n):
                pixels = random.integers(0, 256, (40, 30, 3), np.uint8)
                Image.fromarray(pixels).save(there / f"{i}.png")

    def _make_npz(self) -> None:
        random, labels = np.random.default_rng(0), np.arange(80) % 2
        images = random.integers(0, 256, (80, 12, 12, 3), np.uint8)
        parts = {"x_train": images[:60], "y_train": labels[:60]}
        parts |= {"x_test": images[60:], "y_test": labels[60:]}
        np.savez_compressed(self.folder / "mine.npz", **parts)


def end(process: subprocess.Popen) -> None:
    """End a program and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(address: str) -> bool:
    """Whether a server says 200."""
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as reply:
        return bool(reply.status == 200)
    return False
