"""What follows from the machine; TensorFlow is not asked, so that a run is settled without it."""

from pathlib import Path

from pipeline.config.schema import Config

PROCESSOR, DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia")
# Measured once: 1,560 GFLOP/s in bfloat16, 350 in float32, with two threads.
MATRICES = "amx_bf16"


def with_precision(config: Config) -> Config:
    """The configuration with `precision: auto` decided: bfloat16 where the CPU has AMX.

    By the processor's instructions, not by a timing: the same machine always decides the same.
    Float32 on a machine with a GPU of NVIDIA's, which trains in its place, and under `jit_compile`:
    whether XLA uses these instructions was not tried.
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
