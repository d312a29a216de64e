"""Ctrl-C is put off where it would leave things half-way, and survives a library that hides it."""

import os
import signal

import pytest

from experiments.search.storage import patiently
from pipeline import interrupts
from pipeline.command_line import EXIT_INTERRUPTED, guarded


@pytest.fixture(autouse=True)
def _listening():
    before = {sign: signal.signal(sign, signal.SIG_DFL) for sign in interrupts.SIGNALS}
    with interrupts.listening():
        yield
    for sign, handler in before.items():
        signal.signal(sign, handler)


def press(sign=signal.SIGINT):
    os.kill(os.getpid(), sign)


def lost():
    raise OSError("the connection is lost")


def hide():
    """A database driver that is interrupted while it waits for an answer."""
    try:
        press()
    except KeyboardInterrupt:
        lost()


@pytest.mark.parametrize("sign", interrupts.SIGNALS)
def test_a_signal_waits_until_the_block_is_done(sign):
    done = []

    @interrupts.undisturbed()
    def block():
        with interrupts.undisturbed():
            press(sign)
            press(signal.SIGTERM)
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert done
    with pytest.raises(KeyboardInterrupt):
        press()


def test_a_block_that_fails_does_not_hide_the_signal_that_waits():
    @interrupts.undisturbed()
    def block():
        press()
        lost()

    with pytest.raises(KeyboardInterrupt):
        block()


def test_a_block_that_hangs_can_be_left(monkeypatch):
    monkeypatch.setattr(interrupts, "HANG", -1.0)
    done = []

    @interrupts.undisturbed()
    @interrupts.undisturbed()
    def block():
        press()
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert not done
    monkeypatch.undo()
    test_a_signal_waits_until_the_block_is_done(signal.SIGINT)


def test_what_cleans_up_after_a_worker_s_first_signal_is_not_interrupted():
    told = []
    interrupts.listen(once=lambda: told.append(True))
    with pytest.raises(KeyboardInterrupt):
        press()
    press(signal.SIGTERM)
    with interrupts.undisturbed():
        press()
    assert told == [True]


def test_what_the_command_was_started_to_ignore_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.listen()
    press(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt), interrupts.undisturbed():
        press(signal.SIGTERM)


def test_an_interrupt_that_a_library_tells_as_its_own_failure_is_one(capsys):
    assert guarded(hide) == EXIT_INTERRUPTED
    assert "interrupted" in capsys.readouterr().err
    assert not interrupts.heard()


@pytest.mark.parametrize("hang", [interrupts.HANG, -1.0])
def test_ctrl_c_while_the_storage_is_away_ends_the_waiting(hang, monkeypatch):
    monkeypatch.setattr(interrupts, "HANG", hang)
    asked = []

    def ask():
        asked.append(True)
        hide()
        lost()

    with pytest.raises(KeyboardInterrupt):
        patiently(ask)
    assert len(asked) == 1


def test_a_swallowed_interrupt_is_raised_again():
    interrupts.heed()
    with pytest.raises(OSError, match="lost"):
        hide()
    with pytest.raises(KeyboardInterrupt):
        interrupts.heed()
