"""The command `predict`: classes of new pictures by a run's classifier, as a table."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import interrupts, progress, tracking
from pipeline.config.reading import expanded
from pipeline.data import new_pictures
from pipeline.data.new_pictures import NewPictures
from pipeline.errors import UserError
from pipeline.runs import output, resume
from pipeline.runs.kept import BASELINE

KIND = "predict"
AT_ONCE = 2000  # pictures classified between two reports
NAMED = 5  # classes that the last line counts
DECIMALS = 4  # of probabilities in the table


@dataclass(frozen=True)
class Request:
    """What was asked for, checked as far as it can be without the run."""

    run_id: str
    data_dir: Path
    out: Path
    baseline: bool  # of the run, in its place


def asked(flags: Mapping[str, str]) -> Request:
    """Check the flags of the command.

    Raises:
        UserError: no run_id, no data_dir, or a file that is there or cannot be written.
    """
    for key, meaning in (("run_id", "the run whose classifier"), ("data_dir", "the folder that")):
        if not flags.get(key):
            raise UserError(f"predict needs {key}: {meaning} is read.")
    baseline = flags.get("baseline", "false")
    if baseline not in ("true", "false"):
        raise UserError(f"baseline = {baseline!r} (from --baseline): give true or false.")
    out = expanded(flags.get("out") or f"predictions-{flags['run_id']}.csv")
    _refuse_file(out)
    output.check_writable(out)
    return Request(flags["run_id"], expanded(flags["data_dir"]), out, baseline == "true")


def predict(request: Request) -> str:
    """Classify the pictures and write the table; what was written, in a sentence.

    The table has a row a picture: file, predicted_class, confidence (largest probability), and
    `p_<class>`, the probability of each class.

    Raises:
        UserError: no such run or folder, a run without a classifier, or a file that cannot be
            written. Then nothing is left behind.
    """
    progress.phase("loading the classifier")
    if request.baseline:
        request = replace(request, run_id=_baseline_of(request.run_id))
    kind = tracking.source_kind(request.run_id)
    from pipeline.ops import runtime

    runtime.start(0, None, deterministic=True)
    found = resume.load_one(request.run_id, kind, resume.CLASSIFIER)
    height, width, channels = found.shape
    if height != width:
        raise UserError(
            f"run_id = {request.run_id!r}: its images are {height} × {width}, and pictures are "
            "made square; classify arrays by the logged model, see docs/models.md."
        )
    classify = resume.classify_with(request.run_id, found)
    # Before the pictures, for they may take long.
    n_classes = classify(np.zeros((1, *found.shape), np.uint8)).shape[1]
    if n_classes != len(found.class_names):
        raise UserError(
            f"run_id = {request.run_id!r}: its classifier tells {n_classes} classes apart and "
            f"names {len(found.class_names)}; was the run made by another version of ssgan?"
        )
    fit = str(resume.values_of(request.run_id).get("fit", "crop"))
    scale = tracking.tag(request.run_id, resume.SCALE) or ""
    pixels = tracking.tag(request.run_id, resume.PIXELS) or ""
    with (
        output.launched(KIND, request.run_id) as run,
        new_pictures.opened(request.data_dir, height, channels, fit, scale, pixels) as pictures,
    ):
        progress.phase("classifying", total=len(pictures.names), unit="pictures")
        parts, done = [], 0
        for images in pictures.parts(AT_ONCE):
            parts.append(classify(images))
            interrupts.heed()
            progress.advance(done := done + len(images))
        table = tabled(pictures.names, np.concatenate(parts), found.class_names)
        for note in _notes(pictures, pixels):
            progress.note(note)
        _write(table, request.out)
        if run is not None:
            run.table(table, "predictions.csv")
    return _told(table, request.out)


def _baseline_of(run_id: str) -> str:
    """The id of the run of a run's supervised baseline.

    Raises:
        UserError: no such run, or none that has finished.
    """
    tracking.source_kind(run_id)
    found = tracking.child_of(run_id, BASELINE)
    if found is None:
        raise UserError(
            f"run_id = {run_id!r}: that run has no supervised baseline that has finished; leave "
            "--baseline out."
        )
    return found


def _notes(pictures: NewPictures, pixels: str) -> Iterator[str]:
    """What is to be said of the pictures; pixels: the range that the model was trained on."""
    if pictures.skipped:
        yield pictures.skipped
    if pictures.unscaled:
        yield pictures.unscaled
    if pictures.far:
        yield (
            f"{_some(pictures.far, pictures)} pixels far outside {pixels}, where those of the "
            "training images lie; these are read as black or white. Store the pictures on the "
            "scale of the training images"
        )
    if pictures.beyond:
        yield (
            f"{_some(pictures.beyond, pictures)} darker or brighter values than any that the model "
            "was trained on; these are read as black or white"
        )


def _some(n: int, pictures: NewPictures) -> str:
    return f"{n:,} of {len(pictures.names):,} pictures {'has' if n == 1 else 'have'}"


def tabled(
    files: Sequence[str], probabilities: NDArray[np.float32], class_names: Sequence[str]
) -> pd.DataFrame:
    """The table of `predict`, for probabilities [n, K]."""
    predicted = np.asarray(class_names, object)[probabilities.argmax(axis=1)]
    rounded = probabilities.astype(np.float64).round(DECIMALS)
    first = {"file": list(files), "predicted_class": predicted, "confidence": rounded.max(axis=1)}
    each = {f"p_{name}": rounded[:, number] for number, name in enumerate(class_names)}
    return pd.DataFrame({**first, **each})


def _refuse_file(out: Path) -> None:
    """Nothing is overwritten."""
    said = f"out = {str(out)!r}"
    try:
        if out.exists() or out.is_symlink():
            raise UserError(f"{said}: that is there already; give another file by --out.")
    except OSError as error:
        raise UserError(f"{said}: cannot be used ({error.strerror}); give another file.") from None


def _write(table: pd.DataFrame, out: Path) -> None:
    """Whole or not at all."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name[:40]}-", dir=out.parent) as scratch:
            made = Path(scratch, "table.csv")
            table.to_csv(made, index=False)
            _refuse_file(out)  # somebody may have made it meanwhile
            made.replace(out)
    except OSError as error:
        raise UserError(f"out = {str(out)!r}: cannot be written ({error.strerror}).") from None


def _told(table: pd.DataFrame, out: Path) -> str:
    counts = table["predicted_class"].value_counts()
    some = ", ".join(f"{n:,} {name}" for name, n in counts.head(NAMED).items())
    more = f" and {len(counts) - NAMED} classes more" if len(counts) > NAMED else ""
    pictures = "1 picture" if len(table) == 1 else f"{len(table):,} pictures"
    return f"{pictures} classified ({some}{more}); the table is {out}."
