"""What the terminal tells while a command runs: a bar on a real one, plain lines elsewhere."""

import io
import itertools
import os
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from pipeline import progress
from pipeline.__main__ import main
from pipeline.displays import Lines, Now

ROOT = Path(__file__).resolve().parent.parent
LONG = {"train/images_per_second": 12345.6, "valid/error": 0.0123, "train/confident_share": 0.5}
LONG |= {f"train/{name}_loss": 1.2345 for name in ("discriminator", "generator", "consistency")}
LONG |= {f"train/{name}_loss": 1.2345 for name in ("supervised", "unsupervised", "pull_away")}
SHORT = ["run", "--label_frac", "0.2", "--valid_frac", "0.25", "--steps", "40"]
SHORT += ["--report_every", "10", "--baseline", "false", "--network", "dense"]
SHORT += ["--dense_units", "[32, 16]", "--generator_units", "[32]"]
STAMP = r"\d+:\d\d:\d\d"


class Terminal:
    """A terminal of so many columns, and what was written to it."""

    def __init__(self, columns):
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (40, columns))
        self.raw = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        try:
            while part := os.read(self.master, 65536):
                self.raw += part
        except OSError:  # how Linux tells that the other side is closed
            pass

    def lines(self):
        """Every line that it showed, one frame after another, without colours and movements."""
        os.close(self.slave)
        self.reader.join()
        os.close(self.master)
        parts = re.split(r"[\r\n]+|\x1b\[\d*[AK]", self.raw.decode())
        plain = (re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", part).rstrip() for part in parts)
        return [part for part in plain if part]


# ---------------------------------------------------------------- on a terminal


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_bar_step_and_time_left_stay_beside_long_losses(columns):
    script = (
        "import time\n"
        "from pipeline import progress\n"
        "with progress.shown(), progress.subject('supervised baseline'):\n"
        "    progress.phase('training', done=61_000, total=123_000)\n"
        "    progress.advance(61_001)\n"
        "    time.sleep(0.01)\n"
        f"    progress.report(61_500, progress.numbers({LONG!r}))\n"
        "    progress.note('[a note]')\n"
        "    time.sleep(0.5)\n"
    )
    terminal = Terminal(columns)
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    environment = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
    done = subprocess.run([sys.executable, "-c", script], **streams, env=environment, check=False)
    lines = terminal.lines()
    assert done.returncode == 0, lines
    assert max(map(len, lines)) <= columns
    last = [line for line in lines if "61,500/123,000 steps" in line][-1]
    assert re.search(r"training +[━╸╺]{9,} +61,500/123,000 steps \d+:\d\d:\d\d left$", last)
    (*_, below) = [line for line in lines if "validation" in line]
    assert below.startswith("validation error 1.23%, 12,346 images/s, discriminator 1.23, ")
    assert ("pull away 1.23" in below) == (columns == 160)
    assert "[a note]" in lines


@pytest.mark.slow
def test_a_real_run_on_a_terminal(module_store, monkeypatch, capsys):
    """The loop feeds the bar; what is left in the end is the note on the labels."""
    terminal = Terminal(100)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(os.dup(terminal.slave), "w") as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        # So many that a report of the generator is shown in more than one frame.
        code = main([*SHORT, "--generator_steps", "150"])
    lines = terminal.lines()
    assert code == 0, lines
    for phase in ("compiling the networks", "training"):  # others may fall between two frames
        assert any(line.startswith(f"ssgan: {phase} ") for line in lines), phase
    training = [line for line in lines if line.startswith("ssgan: training ")]
    assert any("/40 steps" in line and "━" in line for line in training)
    assert any(re.match(r"generator .*images/s|.*images/s, .*generator ", line) for line in lines)
    assert "287 of 1,437 training images have a label" in "".join(lines)
    assert capsys.readouterr().err == ""


def test_a_terminal_that_has_gone_does_not_end_the_work(tmp_path):
    script = (
        "import pathlib, time\n"
        "from pipeline import progress\n"
        "try:\n"
        "    with progress.shown():\n"
        "        progress.phase('training', total=100)\n"
        "        while not pathlib.Path('gone').exists():\n"
        "            time.sleep(0.05)\n"
        "        time.sleep(0.5)\n"
        "        progress.report(1, 'loss 1')\n"
        "        progress.note('noted')\n"
        "        progress.warn('warned')\n"
        "    said = 'closed well'\n"
        "except BaseException as error:\n"
        "    said = repr(error)\n"
        "pathlib.Path('said').write_text(said)\n"
    )
    master, slave = os.openpty()
    streams = {"stdin": subprocess.DEVNULL, "stdout": slave, "stderr": slave}
    environment = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", script]
    process = subprocess.Popen(
        words, **streams, env=environment, cwd=tmp_path, start_new_session=True
    )
    os.close(slave)
    assert b"training" in os.read(master, 65536) + os.read(master, 65536)
    os.close(master)
    (tmp_path / "gone").touch()
    process.wait(60)
    assert (tmp_path / "said").read_text() == "closed well"


# ---------------------------------------------------------------- elsewhere


@pytest.mark.slow
def test_a_real_run_without_a_terminal(module_store, capsys):
    assert main([*SHORT, "--seed", "1"]) == 0  # another warm-up than the one above
    out, err = capsys.readouterr()
    lines = err.splitlines()
    (short,) = [line for line in lines if not re.match(f"{STAMP}  [a-z]", line)]
    assert "40 steps are 2.6% of the 1,560" in short
    lines.remove(short)
    said = [line.partition("  ")[2] for line in lines if not re.search(r", for \d+ s$", line)]
    begun = said.index(
        "digits: 287 of 1,437 training images have a label (28–29 of each of 10 classes; "
        "70 of them for validation), 1,150 are used without theirs; 360 test images"
    )
    assert said[:begun] == [
        "loading MLflow",
        "loading and splitting digits",
        "opening the run in MLflow",
    ]
    once = {"starting TensorFlow", "training the domain classifier, once per data set"}
    after = [line.removeprefix("ssgan: ") for line in said[begun + 1 :]]
    phases = [line for line in after if not re.search(r"\d/\d", line)]
    assert [name for i, name in enumerate(phases) if name not in {*once, *phases[i - 1 : i]}] == [
        *("compiling the networks", "warm-up", "graph, labels are spread", "training"),
        *("classes of all images, for the generator", "generator"),
        *("logging the curves", "logging the models"),
        *("evaluation on 360 test images", "logging tables and figures"),
        *("evaluation of samples", "logging tables and figures", "logging the result"),
    ]
    (last,) = [line for line in said if line.startswith("ssgan: training, 40/40 steps (100%), ")]
    assert re.search(r"validation error [\d.]+%, [\d,]+ images/s, .*supervised [\d.]+", last)
    assert "time  split" in out


@pytest.fixture
def spoken():
    """Plain lines by a clock that stands still: moved by hand, read as text."""

    class Spoken:
        def __init__(self):
            self.time, self.stream = 0.0, io.StringIO()
            self.lines = Lines(self.stream, clock=lambda: self.time)

        def phase(self, name, total=0):
            self.lines.now = Now("ssgan", name, self.time, 0, total, "steps")
            self.lines.changed()

        def report(self, done):
            self.lines.now.advance(self.time, done, None)
            self.lines.reported()

        def said(self):
            return self.stream.getvalue().splitlines()

    return Spoken()


def test_thousands_of_steps_give_dozens_of_lines_and_no_long_silence(spoken):
    spoken.lines.noted("begun")
    spoken.phase("training", 9000)
    moments = [0.0]
    for step in range(1, 9001):
        spoken.time += 0.033  # five minutes in all
        spoken.lines.now.advance(spoken.time, step, None)
        if step % 100 == 0:
            spoken.report(step)
        spoken.lines.tick()
        moments += [spoken.time] * (len(spoken.said()) - len(moments))
    assert 24 <= len(spoken.said()) <= 60
    assert max(later - sooner for sooner, later in itertools.pairwise(moments)) <= 10.1
    assert spoken.said()[-1] == "0:04:57  ssgan: training, 9,000/9,000 steps (100%)"
    middle = next(line for line in spoken.said() if "4,500/9,000" in line or "(50%)" in line)
    assert re.search(r"0:02:2\d left", middle)


def test_a_phase_that_takes_long_says_that_it_goes_on(spoken):
    spoken.lines.noted("begun")
    spoken.phase("starting TensorFlow")
    for _ in range(20):
        spoken.time += 1
        spoken.lines.tick()
    assert spoken.said()[2:] == [
        "0:00:08  ssgan: starting TensorFlow, for 8 s",
        "0:00:16  ssgan: starting TensorFlow, for 16 s",
    ]


def test_nothing_is_told_before_a_command_has_begun_or_waits(spoken):
    spoken.phase("loading")
    spoken.time = 7
    spoken.lines.tick()
    assert spoken.said() == []
    spoken.lines.noted("two\nlines")
    assert spoken.said() == ["0:00:00  ssgan: loading", "0:00:07  two", "         lines"]


def test_a_reader_that_has_gone_does_not_end_the_work(spoken):
    spoken.stream.close()
    spoken.lines.noted("begun")


def test_without_a_display_nothing_is_told(capfd):
    with progress.subject("ssgan"):
        progress.phase("training", total=10)
        progress.report(1, progress.numbers(LONG))
        progress.note("text")
    assert capfd.readouterr() == ("", "")
