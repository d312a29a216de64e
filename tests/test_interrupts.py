"""Ctrl-C is put off where it would leave things half-way, and survives a library that hides it."""

import os
import signal

import pytest

from experiments.search.storage import patiently
from pipeline import interrupts
from pipeline.command_line import EXIT_INTERRUPTED, guarded


@pytest.fixture(autouse=True)
def _listening():
    before = {sign: signal.getsignal(sign) for sign in interrupts.SIGNALS}
    interrupts.listen()
    yield
    interrupts.listen()
    for sign, handler in before.items():
        signal.signal(sign, handler)


def press(sign=signal.SIGINT):
    os.kill(os.getpid(), sign)


def hide():
    """A database driver that is interrupted while it waits for an answer."""
    try:
        press()
    except KeyboardInterrupt:
        raise OSError("the connection is lost") from None


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
    assert interrupts.heard()


def test_a_block_that_hangs_can_be_left(monkeypatch):
    monkeypatch.setattr(interrupts, "PATIENCE", 0.0)
    done = []

    @interrupts.undisturbed()
    def block():
        press()
        press()
        done.append(True)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert not done


def test_an_interrupt_that_a_library_tells_as_its_own_failure_is_one(capsys):
    assert guarded(hide) == EXIT_INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_the_storage_s_answer_is_waited_for_and_ctrl_c_then_heard():
    asked = []

    def ask():
        asked.append(True)
        hide()

    with pytest.raises(KeyboardInterrupt):
        patiently(ask)
    assert len(asked) == 1


def test_a_swallowed_interrupt_is_raised_again():
    interrupts.heed()
    with pytest.raises(OSError, match="lost"):
        hide()
    with pytest.raises(KeyboardInterrupt):
        interrupts.heed()
