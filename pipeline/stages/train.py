"""Stage train: data and split in, a trained model and its history out."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.config.key import Decides
from pipeline.config.own_keys import deciding
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.methods import Arrays
from pipeline.networks import backbones
from pipeline.networks.spec import Latents, Spec, reduced_shape, some_of
from pipeline.stages.manifest import Split

if TYPE_CHECKING:
    from pipeline.training.checkpoints import Checkpoints
    from pipeline.training.forecast import Forecast
    from pipeline.training.history import History, Report

READER = "train"  # under this name the label door counts what training reads
SHOWN_FIRST = 1000  # images, at least, that decide the pixels' scale and the first weights
SHOWN_PIXELS = 2**23  # of them; of larger images fewer are shown
COMPILED_FROM = 4000  # steps: at 5 ms saved by each (docs/benchmarks.md), 15 s of XLA are repaid
BATCH = 500  # images a call when classifying or generating,
CALL_PIXELS = 2**21  # and pixels at most: a backbone's maps of large images are larger still


@dataclass(frozen=True)
class Model:
    """A trained model, in memory or loaded back: two functions and what the second is fed."""

    classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # [n,h,w,c] → probabilities [n,K]
    generate: Callable[[NDArray[np.float32]], NDArray[np.uint8]] | None  # latents → [n,h,w,c]
    latents: Latents | None
    drawn: tuple[int, int] | None = None  # height, width before enlarging; None: not enlarged


@dataclass(frozen=True)
class TrainedModel:
    """What the stage returns: Keras models to keep, the same as functions, and the history."""

    classifier: Any  # keras.Model: uint8 images → class probabilities, from averaged weights
    generator: Any  # keras.Model: latents → uint8 images; None without one, or if it is lost
    model: Model
    history: "History"
    release: Callable[[], None]  # lets the next training have the compiled step and the networks


def train(
    dataset: Dataset,
    split: Split,
    config: Config,
    on_report: "Callable[[Report], bool]" = lambda report: True,
    foretell: "Callable[[Forecast], None] | None" = None,
    checkpoints: "Checkpoints | None" = None,
) -> TrainedModel:
    """Train `config.method` on the split's labels and the pool's images.

    Reads labels of `split.labelled` and `split.valid` only, through the dataset's label door.
    The model is the averaged weights after the last step: nothing is selected. `foretell` is told
    before the first step how long it will take. `checkpoints` are written while it goes on, if it
    is told where; it goes on from the last one there, and reports all over again.

    Raises:
        UserError: a checkpoint is another training's.
        RunFailure: training diverged or collapsed; but of a generator that is trained when the
            classifier is done, `history.generator_lost` tells it.
    """
    from pipeline.ops import runtime

    runtime.start(config.seed, config.threads, config.deterministic, config.devices)
    progress.phase("compiling the networks")
    from pipeline.training import loop
    from pipeline.training import program as programs

    key = identity(dataset, split, config)
    config = as_trained(config, len(split.labelled), runtime.has_gpu())
    labels = dataset.train_labels.read(split.labelled, READER)
    images = dataset.images_to_train_on
    spec = spec_of(dataset, split.pool, labels)
    program = programs.prepare(config, spec)
    classify = batched(program.classify, program.method.network.pixels)
    unknown = np.intersect1d(split.pool, dataset.train_labels.unknown())
    arrays = Arrays(images, split.pool, split.labelled, labels, unknown, dataset.digest)
    try:
        validate = _validation(dataset, split, classify)
        history = loop.train(
            program, arrays, config, on_report, validate, foretell, checkpoints, key
        )
    except BaseException:
        programs.release(program)  # its compiled step is as good as new
        raise
    generate = None if history.generator_lost else program.generate
    return TrainedModel(
        program.classifier,
        program.generator if generate is not None else None,
        Model(
            classify,
            batched(generate, math.prod(spec.image_shape[:2])) if generate is not None else None,
            program.method.latents if generate is not None else None,
            drawn_size(spec.image_shape, config.own),
        ),
        history,
        release=lambda: programs.release(program),
    )


def read_labels(dataset: Dataset, split: Split) -> None:
    """Let the label door count what a training reads, where an earlier process has trained."""
    for some in (split.labelled, split.valid):
        dataset.train_labels.read(some, READER)


def identity(dataset: Dataset, split: Split, config: Config) -> str:
    """What two trainings must share to be the same: configuration, data, split, and weights.

    Hexadecimal. Of the weights of a backbone, which a file holds that may have been replaced.
    """
    decisive = [
        deciding(config, what) for what in (Decides.STEP, Decides.WARM_UP, Decides.TRAINING)
    ]
    parts = [part.tolist() for part in (split.labelled, split.pool, split.valid)]
    said = [decisive, dataset.digest, parts]
    if weights := backbones.other_weights(config.backbone, config.backbone_weights):
        said.append(weights)
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def as_trained(config: Config, n_labelled: int, gpu: bool) -> Config:
    """What the configuration leaves to the data and the machine, decided.

    There is no warm-up beyond `warm_up_labels`. XLA compiles where nobody has said and the steps
    that it saves time on are worth the seconds that it takes.
    """
    compiled = config.jit_compile
    if compiled is None:
        compiled = gpu and config.steps >= COMPILED_FROM
    own, most = config.own, config.own.get("warm_up_labels")
    if most is not None and n_labelled > most:
        own = {**own, "warm_up_share": 0.0}
    return config.model_copy(update={"jit_compile": compiled, "own": own})


def drawn_size(shape: tuple[int, ...], values: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what the generator draws for images of `shape` [h, w, c]; else None.

    values: of the method's keys; None is of a method whose generator draws at the data's size.
    """
    if "generator_size" not in values:
        return None
    return reduced_shape((shape[0], shape[1], shape[2]), int(values["generator_size"]))[:2]


def spec_of(dataset: Dataset, pool: NDArray[np.int64], labels: NDArray[np.int64]) -> Spec:
    """What networks are built for: images at the places `pool`, int64, known labels int64 [n]."""
    n_classes = len(dataset.class_names)
    images = dataset.images_to_train_on
    stretching, shrinking = dataset.pixel_tables
    shown = max(1, min(SHOWN_FIRST, SHOWN_PIXELS // math.prod(images.shape[1:])))
    some = images[pool if len(pool) < 2 * shown else some_of(pool, shown)]
    return Spec(
        image_shape=images.shape[1:],
        n_classes=n_classes,
        class_balance=(np.bincount(labels, minlength=n_classes) / len(labels)).astype(np.float32),
        pixel_scale=1 / max(float(np.std(some / 255)), 1e-3),
        first_images=some,
        stretching=stretching,
        shrinking=shrinking,
    )


def _validation(
    dataset: Dataset, split: Split, classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
) -> Callable[[], dict[str, float]]:
    """Measures `valid/error` on the validation images, or nothing if there are none."""
    if not len(split.valid):
        return dict
    labels = dataset.train_labels.read(split.valid, READER)
    images = dataset.train_images[split.valid]
    return lambda: {"valid/error": float(np.mean(classify(images).argmax(axis=1) != labels))}


def batched(
    function: Callable[[Any], Any], pixels: int = 0
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Call `function` on slices of `BATCH` rows or fewer, padded so that it traces once.

    pixels: of an image, as many as are looked at, if they are more than it has.
    """

    from pipeline.ops import runtime

    def results(rows: NDArray[Any], size: int, begin: int) -> NDArray[Any]:
        part = rows[begin : begin + size]
        padded = np.pad(part, [(0, size - len(part)), *[(0, 0)] * (part.ndim - 1)])
        return np.asarray(function(padded))[: len(part)]

    def call(rows: NDArray[Any]) -> NDArray[Any]:
        with ThreadPoolExecutor(runtime.at_once()) as pool:
            a_row = max(pixels, math.prod(rows.shape[1:3]))
            size = max(1, min(BATCH, CALL_PIXELS // a_row))
            parts = pool.map(partial(results, rows, size), range(0, len(rows), size))
            return np.concatenate(list(parts))

    return call
