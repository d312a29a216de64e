"""What the tests of the command line share."""

import re

import mlflow
import numpy as np

PROGRESS = re.compile(r"\d+:\d\d:\d\d  \S")


def one_line(err):
    *before, last = err.splitlines()
    assert not before, err
    assert last.startswith("ssgan: ")
    return last


def last_line(err):
    """What has ended a command that had begun: the last line, after those of its progress."""
    *before, last = err.splitlines()
    assert before
    assert all(map(PROGRESS.match, before)), err
    return one_line(last)


def runs(**tags):
    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments)
    return [run for run in found if tags.items() <= run.data.tags.items()]


def write_npz(path, labels):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6), np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
