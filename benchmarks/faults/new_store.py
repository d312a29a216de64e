"""Commands that make a new SQLite store at once, and commands killed while they make one.

    python -m benchmarks.faults.new_store --stores 9 --commands 4 --kills 20

"Works" means that every command has made its run, that a further one makes its own afterwards, and
that nothing unfinished lies beside the store.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults.resume import PATIENCE, ROOT
from pipeline.tracking.new_store import UNFINISHED

# Waits for a line, so that all begin in the same moment, with their imports behind them.
OPEN = """
import sys
from pipeline.tracking.store import connect
print("ready", flush=True)
sys.stdin.readline()
client = connect()
client.create_run(client.get_experiment_by_name("Default").experiment_id)
print(len(client.search_runs([client.get_experiment_by_name("Default").experiment_id])))
"""
MAKING = 2.0  # seconds that making a store takes, about


def begun(folder: Path, count: int) -> list[subprocess.Popen[str]]:
    """Processes that are about to open the store of a folder."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN],
            text=True,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return processes


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Let them go on; exit code and what each said."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    return [
        (process.returncode, out + err) for process, (out, err) in zip(processes, said, strict=True)
    ]


def works(folder: Path, counts: set[int]) -> str:
    """Make one more run in the store, which then has one of these counts; what is wrong, or ""."""
    [(code, said)] = ended(begun(folder, 1))
    left = [path.name for path in folder.glob(f".mlflow.db{UNFINISHED}*")]
    if code or said.strip() not in map(str, counts):
        return f"{code} {said[-300:]}"
    return f"left behind: {left}" if left else ""


def at_once(commands: int) -> str:
    """Several commands make the store of a folder; what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        all_ended = ended(begun(Path(folder), commands))
        bad = [f"{code} {said[-300:]}" for code, said in all_ended if code]
        return "; ".join(bad) or works(Path(folder), {commands + 1})


def killed(draw: random.Random) -> str:
    """A command is killed while it makes the store, or just after; what is wrong afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        [process] = begun(Path(folder), 1)
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        time.sleep(draw.uniform(0, MAKING))
        process.kill()
        process.communicate()
        return works(Path(folder), {1, 2})  # its run may be there


def main(stores: int = 9, commands: int = 4, kills: int = 20) -> int:
    """Print how many went wrong; 1 if any did."""
    draw = random.Random(0)
    table = Table("fault", "made", "went wrong", title="a new SQLite store")
    wrong = [at_once(commands) for _ in range(stores)]
    table.add_row(f"{commands} commands at once", str(stores), str(sum(map(bool, wrong))))
    after = [killed(draw) for _ in range(kills)]
    table.add_row("killed while it is made", str(kills), str(sum(map(bool, after))))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for said in filter(None, [*wrong, *after]):
        print(said, file=sys.stderr)
    return int(any(wrong) or any(after))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=int, default=9)
    parser.add_argument("--commands", type=int, default=4, help="at once on each store")
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args()
    sys.exit(main(given.stores, given.commands, given.kills))
