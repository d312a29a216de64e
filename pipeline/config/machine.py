"""What follows from the machine; TensorFlow is not asked, so that a run is settled without it."""

from pathlib import Path

from pipeline.config.schema import Config

PROCESSOR, DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia")
# Four times as many products a second in bfloat16 as in float32; AVX-512 alone has less than two.
MATRICES = "amx_bf16"


def with_precision(config: Config) -> Config:
    """The configuration with `precision: auto` decided: bfloat16 where the CPU has AMX.

    By the processor's instructions, not by a timing: the same machine always decides the same.
    Float32 on a machine with a GPU of NVIDIA's, and under `jit_compile`: neither uses them.
    """
    if config.precision != "auto":
        return config
    fast = not (config.jit_compile or DRIVER.exists()) and MATRICES in _instructions()
    return config.model_copy(update={"precision": "bfloat16" if fast else "float32"})


def _instructions() -> list[str]:
    try:
        return PROCESSOR.read_text(encoding="ascii", errors="ignore").split()
    except OSError:  # not Linux
        return []
