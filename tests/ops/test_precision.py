"""`precision: auto`: bfloat16 where the processor is far faster in it, float32 elsewhere."""

import pytest

from pipeline.config import layers as configuration
from pipeline.ops import precision


def decided(**flags):
    return precision.decided(configuration.load({"precision": "auto", **flags})).precision


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Give the processor these instructions, and products in bfloat16 this speed."""

    def is_like(flags, times_as_fast):
        seconds = {"float32": 1.0, "bfloat16": 1.0 / times_as_fast}
        (tmp_path / "cpuinfo").write_text(f"flags : fpu sse2 {flags}\n")
        monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "cpuinfo")
        monkeypatch.setattr(precision, "_seconds", lambda dtype: seconds[dtype.name])
        precision.gain.cache_clear()

    yield is_like
    precision.gain.cache_clear()


@pytest.mark.parametrize(
    ("flags", "times_as_fast", "expected"),
    [
        ("amx_bf16", 4.5, "bfloat16"),
        ("avx512_bf16", 1.6, "float32"),
        ("avx2", 9.0, "float32"),  # no instructions: not even timed
    ],
)
def test_the_machine_decides(machine, flags, times_as_fast, expected):
    machine(flags, times_as_fast)
    assert decided() == expected


def test_what_is_said_by_hand_stays(machine):
    machine("amx_bf16", 4.5)
    assert [decided(precision=said) for said in ("float32", "bfloat16")] == ["float32", "bfloat16"]


def test_without_a_list_of_instructions_it_is_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "PROCESSOR", tmp_path / "none")
    precision.gain.cache_clear()
    assert decided() == "float32"


def test_products_are_really_timed():
    import tensorflow as tf

    assert 0 < precision._seconds(tf.bfloat16) < 60
