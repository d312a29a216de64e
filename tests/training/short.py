"""Short trainings on digits, for the tests of the loop and its neighbours."""

import numpy as np

from pipeline import data, methods
from pipeline.config import layers as configuration
from pipeline.methods import Arrays
from pipeline.networks.spec import Spec
from pipeline.training import loop, warm_up
from pipeline.training.program import Program

SMALL = {"network": "dense", "dense_units": "[64, 32]", "layer_noise": "0.1", "warmup_steps": "0"}
BESIDE = {"method": "sgan"}  # its generator is trained beside the classifier


def prepare(**flags):
    """A configuration and digits with 100 labels."""
    config = configuration.load({k: str(v) for k, v in flags.items()})
    digits = data.load("digits", None)
    labelled = np.arange(100)
    labels = digits.train_labels.read(labelled, "train")
    return config, Arrays(
        digits.train_images, np.arange(1437), labelled, labels, np.arange(0), digits.digest
    )


def build(config, arrays):
    spec = Spec(
        image_shape=arrays.images.shape[1:],
        n_classes=10,
        class_balance=np.full(10, 0.1, np.float32),
        pixel_scale=2.5,
        first_images=arrays.images[:200],
    )
    return methods.build(config, spec, config.seed)


def fingerprint(method, reports):
    """Losses of every report; one number for each variable of every network."""
    networks = [network for network in (method.average, method.generator) if network is not None]
    weights = [v.numpy() for network in networks for v in network.variables]
    losses = [
        value
        for report in reports
        for name, value in sorted(report.metrics.items())
        if name.endswith("loss")
    ]
    positions = [np.cos(np.arange(w.size)).reshape(w.shape) for w in weights]
    return losses, [float((w * p).sum()) for w, p in zip(weights, positions, strict=True)]


def short_run(seed):
    """A small GAN, a few steps long: of all networks the most prone to part ways."""
    warm_up.forget()
    config, arrays = prepare(**SMALL, steps=12, report_every=5, seed=seed)
    method = build(config, arrays)
    return fingerprint(
        method, loop.train(Program(method, config), arrays, config, lambda report: True).reports
    )
