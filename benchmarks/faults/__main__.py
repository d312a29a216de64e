"""All faults in turn.

    python -m benchmarks.faults

Ends with exit code 1 if a check of any of them fails.
"""

import importlib
import sys

FAULTS = (
    "kill_worker",
    "kill_search",
    "interrupt",
    "lost_database",
    "failing_trials",
    "two_commands",
    "delayed_writes",
    "changed_space",
    "resume",
    "lost_store",
    "new_store",
)


def main() -> int:
    return max([importlib.import_module(f"benchmarks.faults.{name}").main() for name in FAULTS])


if __name__ == "__main__":
    sys.exit(main())
