"""The real command line, but many writes to the study's storage come late.

    python -m benchmarks.faults.late search --trials 4

Its workers' writes too: a process that is started by spawn loads this module first.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.storages import BaseStorage

LATE, SHARE = 3.0, 0.25  # seconds that a write waits at most, and the share of those that do
WRITES = (
    *("create_new_study", "create_new_trial", "set_study_user_attr", "set_trial_user_attr"),
    *("set_trial_state_values", "set_trial_param", "set_trial_system_attr"),
)


def late(storage: BaseStorage, random: np.random.Generator) -> BaseStorage:
    """The same storage, whose writes wait at random before they are made."""

    def wait_first(write: Callable[..., Any]) -> Callable[..., Any]:
        def later(*args: Any, **named: Any) -> Any:
            if random.random() < SHARE:
                time.sleep(random.uniform(0, LATE))
            return write(*args, **named)

        return later

    for name in WRITES:
        setattr(storage, name, wait_first(getattr(storage, name)))
    return storage


def _delay() -> None:
    from experiments.search import storage

    connect = storage.connected
    storage.connected = lambda place: late(connect(place), np.random.default_rng())


if __name__ in ("__main__", "__mp_main__"):
    _delay()

if __name__ == "__main__":
    from experiments.__main__ import main

    sys.exit(main())
