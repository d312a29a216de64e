"""Faults that tests make, each several times; see docs/reliability.md.

    python -m benchmarks.faults.often --times 5

Prints, for each fault, how often nothing was lost. 1 if something was.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
# The fault → the test that makes it, for real.
TESTED = {
    "a run killed in each of its phases": "runs/test_going_on.py::test_killed_in_every_phase",
    "Ctrl-C and SIGTERM": "runs/test_going_on.py::test_an_interrupted_run_says",
    "a killed run is told by the next command": "runs/test_going_on.py::test_a_killed_run_is_told",
    "two commands go on with one run": "runs/test_going_on.py::test_only_one_process",
    "no folder for checkpoints": "runs/test_going_on.py::test_where_no_folder_can_be_made",
    "the last checkpoint is damaged": "training/test_checkpoints.py::test_a_damaged_checkpoint",
    "both checkpoints are damaged": "training/test_checkpoints.py::test_when_both_are_damaged",
    "killed while it writes a checkpoint": "training/test_checkpoints.py::test_a_process_killed",
    "the disk of the checkpoints is full": "training/test_checkpoints.py::test_a_full_or_closed",
    "a signal while a record is written": "test_interrupts.py::test_a_signal_waits",
    "a library swallows an interrupt": "test_interrupts.py::test_a_swallowed_interrupt",
    "the store is locked": "tracking/test_outbox.py::test_what_is_told_while_the_store_is_away",
    "every record is sent twice": "tracking/test_outbox.py::test_every_record_may_be_sent_twice",
    "the store stays away": "tracking/test_outbox.py::test_a_store_that_stays_away",
    "killed with records unsent": "tracking/test_outbox.py::test_a_killed_process_leaves",
    "the run was deleted meanwhile": "tracking/test_refused.py::test_what_the_store_refuses",
    "the disk of the records is full": "tracking/test_spool.py::test_a_full_disk",
    "a damaged spool": "tracking/test_spool.py::test_a_damaged_spool",
    "no store at the start": "command_line/test_mistakes.py::test_a_store_that_cannot_be_used",
    "artifacts cannot be written": "command_line/test_mistakes.py::test_an_artifact_folder",
    "new stores, several commands at once": "test_new_store.py::test_commands_that_make_a_store",
    "killed while it makes a store": "test_new_store.py::test_a_command_killed_while_it_makes",
    "a project folder with a space": "test_new_store.py::test_a_folder_with_a_space",
    "a store was moved": "test_places.py::test_a_moved_folder_says_so",
    "the launcher is gone": "test_places.py::test_a_launched_run_is_ended",
    "a dead process's run": "test_dead.py::test_a_killed_run_is_ended",
    "a torn journal": "experiments/test_journal.py::test_a_torn_last_line",
    "zeros in a journal": "experiments/test_journal.py::test_zeros_that_a_full_disk_leaves",
    "a journal damaged elsewhere": "experiments/test_journal.py::test_damage_elsewhere",
    "a killed worker of a search": "experiments/test_search.py::test_a_killed_worker",
    "five trials fail": "experiments/test_search.py::test_five_failures_in_a_row",
    "a foreign loader in a model": "runs/test_trust.py::test_a_foreign_loader",
    "a pickle in a model": "runs/test_trust.py::test_a_foreign_flavour",
    "code beside a model": "runs/test_trust.py::test_code_that_is_brought_along",
    "a graph that writes files": "runs/test_trust.py::test_a_graph_that_does_more",
    "a program in a configuration": "runs/test_trust.py::test_a_program_in_the_configuration",
    "a password in an address": "test_masking.py::test_a_run_on_a_server_keeps_and_shows",
    "arrays larger than the memory": "data/test_npz_files.py::test_arrays_that_unpack_to_more",
    "a hostile array header": "data/test_npz_files.py::test_an_array_s_header_may_say_anything",
    "damaged arrays": "data/test_npz_files.py::test_damaged_npz",
    "damaged IDX files": "data/test_data.py::test_damaged_idx_file",
    "broken pictures": "data/test_hostile_folder.py::test_broken_files_are_named",
    "a damaged entry of the cache": "data/test_cache.py::test_a_damaged_entry",
    "reading pictures is interrupted": "data/test_cache.py::test_an_interrupted_reading",
    "images of any shape": "test_tracking.py::test_images_of_any_shape",
    "hostile flags": "properties/test_inputs.py::test_flags_make_a_configuration",
    "hostile YAML": "properties/test_inputs.py::test_a_file_makes_a_configuration",
    "a hostile table of labels": "properties/test_inputs.py::test_a_table_of_labels",
    "any bytes as arrays": "properties/test_inputs.py::test_any_bytes_as_an_array",
}


def once() -> tuple[Counter[str], Counter[str]]:
    """Run all of it once: the tests of each fault that passed, and those that did not."""
    files = sorted({test.partition("::")[0] for test in TESTED.values()})
    chosen = " or ".join(sorted({test.partition("::")[2] for test in TESTED.values()}))
    with TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        words = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-m", "", "-k", chosen]
        subprocess.run(
            [sys.executable, "-m", "pytest", *words, *(f"tests/{file}" for file in files)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return read(report)


def read(report: Path) -> tuple[Counter[str], Counter[str]]:
    """Of a report of pytest the tests of each fault that passed, and those that did not.

    A test that was skipped has made no fault.
    """
    passed, failed = Counter[str](), Counter[str]()
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        place = case.get("classname", "").removeprefix("tests.").replace(".", "/") + ".py"
        bad = case.find("failure") is not None or case.find("error") is not None
        for fault, test in TESTED.items():
            file, _, name = test.partition("::")
            if place == file and case.get("name", "").startswith(name):
                (failed if bad else passed)[fault] += 1
    return passed, failed


def main(times: int = 1) -> int:
    """Print how often each fault was made and what came of it."""
    made, lost = Counter[str](), Counter[str]()
    begin = time.monotonic()
    for number in range(times):
        passed, failed = once()
        for fault in TESTED:
            made[fault] += bool(passed[fault] or failed[fault])
            lost[fault] += bool(failed[fault])
        print(f"{number + 1} of {times}, {time.monotonic() - begin:.0f} s", file=sys.stderr)
    table = Table("fault", "made", "lost something", title=f"{len(TESTED)} kinds of fault")
    for fault in TESTED:
        table.add_row(fault, str(made[fault]), str(lost[fault] or ""))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return int(any(lost.values()) or min(made[fault] for fault in TESTED) < times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1)
    sys.exit(main(parser.parse_args().times))
