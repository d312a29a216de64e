"""What the benchmarks count, and how they ask their workers."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmarks import flops, profile
from benchmarks.faults import often
from benchmarks.turns import Worker, WorkerFailure
from pipeline.config.layers import load
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.parts.relativistic_gan import RelativisticGAN


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)  # with the threads that later tests count on


def test_operations_of_a_step_by_hand():
    # Classifier 5 → 4 → 3, generator 2 → 5, 10 real images, 6 generated, 7 for the teacher.
    forward_and_weights = 2 * 16 * (20 + 12)
    inputs = 16 * 12
    generator = 2 * 6 * 10
    matching = 6 * 20
    teacher = 7 * 32
    total = 2 * (forward_and_weights + inputs + generator + matching + teacher)
    counts = {"real": 10, "generated": 6, "teacher": 7}
    assert flops.operations([20, 12], [10], **counts, again=0) == total
    # The generator's update looks at 6 new images and 3 real ones.
    total += 2 * (6 * 10 + (6 + 3) * 20)
    assert flops.operations([20, 12], [10], **counts, again=3) == total


def test_layers_are_read_off_the_graph():
    import keras

    network = keras.Sequential(
        [
            keras.layers.Conv2D(8, 3, 2, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    network.build([None, 6, 6, 2])
    assert flops.layers(network, [6, 6, 2]) == [9 * (9 * 2 * 8), 9 * 8 * 10]


def test_operations_of_a_generators_step_count_a_quarter_of_a_penalty():
    flags = {"dataset": "mnist", "generator_units": "[4]", "latent_size": "6"}
    config = load({**flags, "generated_batch_size": "10"})
    spec = Spec((8, 8, 1), 3, np.ones(3, np.float32) / 3, 1.0, np.zeros((1, 8, 8, 1), np.uint8))
    gan = RelativisticGAN(config, spec, seed=0)
    pixels = 4 * 4  # of the one size of maps
    block, convolution = 2 * pixels * 9 * 4 * 4, pixels * 9 * 4 * 4
    start, embedding = 12 * pixels * 4, 3 * 6
    generator = embedding + start + block + convolution
    discriminator = convolution + block + pixels * 4 * 128 + 128 + 3 * 128
    total = 2 * 10 * (3 * generator - embedding + round(2 * 3.75 * discriminator))
    assert flops.generate(SimpleNamespace(gan=gan), config, (8, 8, 1)) == total


def test_own_times_leave_out_what_is_nested():
    events = [("outer:A", 0, 10), ("inner:B", 2, 5), ("leaf:C", 3, 1), ("later:A", 10, 4)]
    found = dict(profile.own_times(events))
    assert found == {"outer:A": 5, "inner:B": 4, "leaf:C": 1, "later:A": 4}
    assert [name for name in ("a/b:MatMul", "Process", "x::Run") if profile.is_operation(name)] == [
        "a/b:MatMul"
    ]


def test_a_fault_whose_test_was_skipped_was_not_made(tmp_path):
    report = tmp_path / "report.xml"
    name = 'classname="tests.test_interrupts" name="test_a_s'
    report.write_text(
        f'<r><testcase {name}wallowed_interrupt"/><testcase {name}wallowed_interrupt[2]">'
        f'<failure/></testcase><testcase {name}ignal_waits"><skipped/></testcase></r>'
    )
    swallowed = {"a library swallows an interrupt": 1}
    assert often.read(report) == (swallowed, swallowed)


WORKER = """
from benchmarks import turns
turns.serve(lambda order: (print("noise") or {"steps": lambda n: n * order["each"]}, "ready"))
"""


def test_a_worker_answers_in_turn_and_says_why_it_ended():
    worker = Worker([sys.executable, "-c", WORKER], {"each": 2.0})
    assert worker.about == "ready"
    assert worker.run("steps", 3).seconds == 6.0
    assert worker.run("steps", 4).seconds == 8.0
    with pytest.raises(WorkerFailure, match="KeyError: 'other'"):
        worker.run("other", 1)
    worker.close()


def labels_table(folder, *options):
    """Run `benchmarks.labels` on digits into a table in `folder`."""
    arguments = ["-m", "benchmarks.labels", "--draws", "1", "--csv", str(folder / "t.csv")]
    return subprocess.run(
        [sys.executable, *arguments, *options],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_training_that_fails_leaves_the_other_rows_and_they_stay(tmp_path):
    lost = "supervised:steps=60:report_every=20:discriminator_lr=100000"
    kept = "supervised:steps=60:report_every=60"
    done = labels_table(tmp_path, "--arms", f"{lost},{kept}")
    assert done.returncode == 1
    assert "1 of 2 trainings failed" in done.stderr
    assert pd.read_csv(tmp_path / "t.csv")["arm"].tolist() == [kept]
    again = labels_table(tmp_path, "--arms", kept)
    assert again.returncode == 0
    assert "wall_s" not in again.stdout  # nothing trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--arms", "supervised,fixmach"], "fixmatch"),
        (["--arms", "supervised:steps"], "an arm is method:key=value"),
        (["--arms", "fixmatch:steps=9", "--equal_cpu", "ssgan"], "decides its steps"),
        (["--csv", "nowhere/t.csv"], "no such folder"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(tmp_path, options, words):
    done = labels_table(tmp_path, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
