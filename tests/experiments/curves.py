"""Runs of a curve's cells in a real store, without a training; the report on them."""

import mlflow
import pandas as pd

from experiments.curve import answering, counts, grid, kept, work
from pipeline import tracking


def asked(digits, **flags):
    read = grid.read({"name": "c", "label_counts": "20,50", "seeds": "2", **flags})
    return counts.on(read, digits)[0]


def begin(client, method, n_labels, seed=0, digest="", params=None):
    tags = {
        "ssgan.curve": "c",
        "ssgan.kind": "cell",
        "ssgan.cell": f"{method}, {n_labels} labels, seed {seed}",
        "ssgan.cell_digest": digest,
        "ssgan.command": "now",
        "ssgan.method": method,
        "ssgan.data_digest": "d1",
    }
    there = client.get_experiment_by_name("ssgan/c").experiment_id
    run = client.create_run(there, tags=tags).info.run_id
    for key, value in {"dataset": "digits", "seed": seed, **(params or {})}.items():
        client.log_param(run, key, value)
    client.log_metric(run, "n_labels", n_labels)
    client.log_metric(run, "n_test", 360)
    return run


def finish(client, method, n_labels, seed=0, digest="", params=None, first=0):
    """A finished training; first: the image that its labels begin with."""
    run = begin(client, method, n_labels, seed, digest, params)
    client.log_metric(run, "test/error", 0.5 / n_labels + seed / 1000)
    parts = ["labelled"] * n_labels + ["unlabelled"] * (1437 - n_labels) + ["test"] * 360
    index = [*((first + i) % 1437 for i in range(1437)), *range(360)]
    pd.DataFrame({"index": index, "part": parts}).to_parquet("manifest.parquet")
    client.log_artifact(run, "manifest.parquet", "split")
    client.set_terminated(run, "FINISHED")
    return run


def fail(client, cell):
    run = begin(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    client.set_tag(run, "ssgan.reason", "the loss was not finite")
    client.set_terminated(run, "FAILED")


def given(wanted, digits, words=()):
    """The report of a curve's command, and the description of its summary run."""
    now = work.state(tracking.cells("ssgan/c", "c"), "now")
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
        found = answering.give(wanted, run, now, words, "command", digits)
    summary = mlflow.MlflowClient().get_run(run.id)
    return found.lines, summary.data.tags["mlflow.note.content"]


def remember(run, asked, cells, **more):
    kept.keep(run, kept.Kept(asked.against, answering.wanted(cells), "now", **more))


def report(**words):
    words = {"filter": "", "experiment": None, "curve": None, "against": None, "out": None, **words}
    return answering.of_runs(answering.Asked(**words), "command")
