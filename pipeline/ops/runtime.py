"""Start TensorFlow: quietly, with the threads and the switches a run asks for.

Importing this module does not import TensorFlow; `start` does.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import RunFailure


def start(seed: int, threads: int | None, deterministic: bool, devices: int | None = None) -> None:
    """Import TensorFlow and set threads, seed and determinism, before it runs anything.

    With two threads, two operations run at a time on one thread each. These networks are small:
    two threads at one operation wait for each other. And the sums are then those of one thread.

    More than one device on a machine without GPUs splits the CPU into as many logical devices.

    With `deterministic`, Grappler's meta optimiser is switched off too: with it, some processes
    of one seed part ways from the first step on, whatever the other switches say. A process that
    has run TensorFlow keeps its number of threads.

    Raises:
        RunFailure: TensorFlow runs already, with another number of threads.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet_stderr():
        import tensorflow as tf

        wanted = threads or cores()
        layout = (1 if wanted == 2 else wanted, wanted)
        if (current := _layout()) != layout:
            try:
                tf.config.threading.set_intra_op_parallelism_threads(layout[0])
                tf.config.threading.set_inter_op_parallelism_threads(layout[1])
            except RuntimeError:
                # Without a number asked for, what others have started before us will do.
                if threads is not None or current != (0, 0):
                    raise RunFailure(
                        f"threads = {threads or 'null'}: TensorFlow already runs in this process "
                        "with another number of threads; start a new process."
                    ) from None
        cpu, *_ = tf.config.list_physical_devices("CPU")
        if (devices or 1) > 1 and not has_gpu():
            parts = [tf.config.LogicalDeviceConfiguration()] * (devices or 1)
            tf.config.set_logical_device_configuration(cpu, parts)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": deterministic})
        tf.keras.utils.set_random_seed(seed)
        tf.config.list_logical_devices()  # looks for GPUs, and says so, now


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def cores() -> int:
    """The CPU cores that the machine, the process's affinity and its container leave to it."""
    from joblib import cpu_count

    return int(cpu_count())


def at_once() -> int:
    """How many operations a caller may hand TensorFlow at a time for all threads to have work."""
    return 2 if _layout() == (1, 2) else 1


def threads() -> int:
    """The threads that TensorFlow was started with, or the cores if it chose by itself."""
    return max(_layout()) or cores()


def _layout() -> tuple[int, int]:
    """Threads of an operation, and operations at a time; 0, 0 = TensorFlow's own choice."""
    from tensorflow import config

    threading = config.threading
    return (
        threading.get_intra_op_parallelism_threads(),
        threading.get_inter_op_parallelism_threads(),
    )


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what native code writes to stderr; show it if the block fails.

    TensorFlow's start-up lines (oneDNN, CUDA stubs) come from C++ and no log level stops them.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(saved, 2)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
