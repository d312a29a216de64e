"""What follows from the machine; TensorFlow is not asked, so that a run is settled without it."""

from pathlib import Path

from pipeline.config.schema import Config

PROCESSOR, DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia")
# Measured once: 1,560 GFLOP/s in bfloat16, 350 in float32, with two threads.
MATRICES = "amx_bf16"


def with_precision(config: Config, auto: str = "") -> Config:
    """The configuration with `precision: auto` decided: bfloat16 where the CPU has AMX.

    By the processor's instructions, not by a timing: the same machine always decides the same.
    Float32 on a machine with a GPU of NVIDIA's, which trains in its place, and under `jit_compile`:
    whether XLA uses these instructions was not tried.

    auto: what `best_precision` was on the machine that decides, if it is not this one.
    """
    if config.precision != "auto":
        return config
    decided = "float32" if config.jit_compile else auto or best_precision()
    return config.model_copy(update={"precision": decided})


def best_precision() -> str:
    """What `auto` is on this machine, without `jit_compile`."""
    return "bfloat16" if not DRIVER.exists() and MATRICES in _instructions() else "float32"


def _instructions() -> list[str]:
    try:
        return PROCESSOR.read_text(encoding="ascii", errors="ignore").split()
    except OSError:  # not Linux
        return []
