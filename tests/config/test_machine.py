"""`precision: auto` is decided by the processor, once, before anything is kept of a run."""

import pytest

from pipeline.config import layers as configuration
from pipeline.config import machine


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """The file in which Linux lists the processor's instructions; not there yet."""
    monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "nvidia")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("instructions", "flags", "expected"),
    [
        ("amx_bf16", {}, "bfloat16"),
        ("avx512_bf16", {}, "float32"),
        ("avx2", {}, "float32"),
        ("amx_bf16", {"jit_compile": "true"}, "float32"),
        ("amx_bf16", {"precision": "float32"}, "float32"),
        ("avx2", {"precision": "bfloat16"}, "bfloat16"),
    ],
)
@pytest.mark.parametrize("steps", ["0", "300"])
def test_a_settled_configuration_says_what_is_trained_in(
    processor, instructions, flags, expected, steps
):
    processor.write_text(f"flags : fpu sse2 {instructions}\n")
    config = configuration.load({"precision": "auto", "steps": steps, **flags})
    assert configuration.settled(config, 1437).precision == expected


def test_on_a_machine_with_a_gpu_it_is_float32(processor):
    processor.write_text("flags : amx_bf16\n")
    (processor.parent / "nvidia").mkdir()
    config = configuration.load({"precision": "auto"})
    assert configuration.settled(config, 1437).precision == "float32"


def test_without_a_list_of_instructions_it_is_float32(processor):
    config = configuration.load({"precision": "auto"})
    assert configuration.settled(config, 1437).precision == "float32"
