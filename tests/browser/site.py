"""A store of real runs with MLflow's UI on it, and a browser that looks at it."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mlflow import MlflowClient
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 1800  # for a command or the server, on a busy machine
PATIENCE = 60_000  # milliseconds for something to appear on a page
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
VISITED = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
# MLflow's own: it asks for a user that a server without accounts does not have, and its tables
# are measured again while they are laid out.
NOISE = ("ajax-api/2.0/mlflow/users/current", "ResizeObserver loop")


def chromium() -> str | None:
    """The browser's program."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Site:
    """A folder with a store of its own, commands that fill it, and the server that shows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.ui = f"http://127.0.0.1:{self.port}"
        self.store = f"sqlite:///{folder}/mlflow.db"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")},
            "MLFLOW_TRACKING_URI": self.store,
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        }
        # Two processes that make a store at once get in each other's way.
        self.client = MlflowClient(self.store)
        self.client.search_experiments()

    def command(self, *words: str) -> str:
        """Run one of our commands to its end; what it has printed."""
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def commands(self, lanes: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
        """Run lanes of commands side by side; what each has printed."""
        with ThreadPoolExecutor(len(lanes)) as pool:
            return list(pool.map(lambda lane: [self.command(*words) for words in lane], lanes))

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Start the UI as a user does; gives what it says, its address among it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "ui"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            yield next((line for line in lines if line.startswith("Open ")), "")
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def address(said: str, name: str) -> str:
    """The address in the line that begins with a name."""
    (found,) = re.findall(rf"^{name}\b.*?(http\S+)$", said, re.MULTILINE)
    return str(found)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # Chromium's own sandbox wants rights that a container does not have.
        started = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def new_page(
    browser: Browser, width: int = 1600, height: int = 900, *, first_visit: bool = False
) -> Iterator[tuple[Page, list[str]]]:
    """A page of a new visitor, and the errors that it tells.

    first_visit: MLflow opens its assistant beside the page, once.
    """
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(PATIENCE)
    if not first_visit:
        context.add_init_script(f"window.localStorage.setItem('{VISITED}', 'true')")
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console",
        lambda told: (
            errors.append(f"{told.text} {told.location.get('url')}")
            if told.type == "error"
            else None
        ),
    )
    try:
        yield page, errors
    finally:
        context.close()


def ours(errors: Sequence[str]) -> list[str]:
    """Errors that are not MLflow's known noise."""
    return [error for error in errors if not any(noise in error for noise in NOISE)]


def column(page: Page, key: str) -> list[str]:
    """The texts of a column of the table of runs, from the top."""
    page.locator(f'[role=gridcell][col-id="{key}"]').first.wait_for()
    cells = page.locator(f'[role=row]:has([col-id="{key}"][role=gridcell])')
    rows = [
        (
            int(cells.nth(i).get_attribute("row-index") or 0),
            cells.nth(i).locator(f'[col-id="{key}"]').inner_text().strip(),
        )
        for i in range(cells.count())
    ]
    return [text for _, text in sorted(rows)]


def card(page: Page, title: str) -> Locator:
    """A chart by the whole of its title."""
    cards = page.get_by_test_id("experiment-view-compare-runs-card")
    return cards.filter(has=page.get_by_text(title, exact=True)).first


def settled(page: Page, milliseconds: int = 1500) -> None:
    """Wait until what is drawn has come to rest."""
    end = time.monotonic() + PATIENCE / 1000
    before = b""
    while time.monotonic() < end:
        now = page.screenshot()
        if now == before:
            return
        before = now
        page.wait_for_timeout(milliseconds)
