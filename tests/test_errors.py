"""What a library's error says, in one line that keeps its cause."""

from pipeline.errors import CAUSE, cause


def test_the_cause_at_the_end_of_a_long_message_is_kept():
    said = cause(
        ValueError("cannot write:\n" + 5000 * "x" + "\n[Errno 28] No space left on device")
    )
    assert said.startswith("cannot write: xxx")
    assert said.endswith("x [Errno 28] No space left on device")
    assert len(said) <= CAUSE + 3
    assert "\n" not in said


def test_an_error_without_words_is_named():
    assert cause(MemoryError()) == "MemoryError"
    assert cause(ValueError("short\n  and plain")) == "short and plain"
