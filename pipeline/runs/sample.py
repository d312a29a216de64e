"""The command `sample`: images that a run's generator draws, as PNG files and a contact sheet."""

import math
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import figures, interrupts, progress, tracking
from pipeline.config.named import suggestion
from pipeline.config.reading import expanded
from pipeline.errors import UserError
from pipeline.networks.spec import Latents
from pipeline.runs import output, resume
from pipeline.stages import train as training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "sample"
AT_ONCE = 1000  # images drawn before they are written
DARK = 63  # brightest pixel of images that a sheet would show as black
SHEET_ROWS, SHEET_COLUMNS = 50, 10  # of the contact sheet, at most
STEPS = 10  # images of an interpolation, its ends among them
DPI = 200
SHEET, INTERPOLATION = "contact_sheet.png", "interpolation.png"
LONGEST = 200  # bytes of a class's folder


@dataclass(frozen=True)
class Request:
    """What was asked for, checked as far as it can be without the run."""

    run_id: str
    n: int
    wanted: str | None
    out: Path
    seed: int
    interpolate: bool


@dataclass(frozen=True)
class Generator:
    """A run's generator, loaded back; conditional if it has class names."""

    generate: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    latents: Latents
    class_names: Sequence[str]  # none: it draws whatever it likes


def asked(flags: Mapping[str, str]) -> Request:
    """Check the flags of the command.

    Raises:
        UserError: no run_id, a value that is not allowed, or a folder that is not
            empty or cannot be written.
    """
    if not flags.get("run_id"):
        raise UserError(
            "sample needs run_id: a run that has a generator; every run ends with its id."
        )
    interpolate = flags.get("interpolate", "false")
    if interpolate not in ("true", "false"):
        raise UserError(f"interpolate = {interpolate!r} (from --interpolate): give true or false.")
    request = Request(
        run_id=flags["run_id"],
        n=_whole(flags, "n", 100, 1),
        wanted=flags.get("class"),
        out=expanded(flags.get("out") or f"samples-{flags['run_id']}"),
        seed=_whole(flags, "seed", 0, 0),
        interpolate=interpolate == "true",
    )
    _refuse_folder(request.out)
    return request


def sample(request: Request) -> str:
    """Draw and write the images; what was written, in a sentence.

    Raises:
        UserError: no such run, a run without a generator, an unknown class, or a folder that
            cannot be written. Then nothing is left behind.
    """
    generator = _loaded(request)
    names = generator.class_names
    classes = _classes(request, names)
    with output.launched(KIND, request.run_id) as run, _whole_or_not_at_all(request.out) as folder:
        shown = _write(request, generator, classes, folder)
        title = f"{tracking.run_name(request.run_id)}, run {request.run_id[:8]}"
        sheets = {SHEET: _sheet(shown, title, names)}
        if request.interpolate:
            sheets[INTERPOLATION] = _interpolation(request, generator, classes, title)
        for name, figure in sheets.items():
            figure.savefig(folder / name, dpi=DPI)
            if run is not None:
                run.figure(figure, f"figures/{name}")
    total, of = request.n * len(classes), ""
    if names:
        of = f" of class {names[classes[0]]}" if request.wanted else f" of {len(classes)} classes"
    images = "1 image" if total == 1 else f"{total:,} images"
    return f"{images}{of} written to {request.out}, and {' and '.join(sheets)}."


def _whole(flags: Mapping[str, str], key: str, default: int, least: int) -> int:
    """The whole number that a flag gives."""
    text = flags.get(key, str(default))
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
        raise UserError(
            f"{key} = {text!r} (from --{key}): give a whole number from {least} on, of at "
            "most nine digits."
        )
    return int(text)


def _refuse_folder(out: Path, ours: str = "") -> None:
    """Nothing is overwritten, and the images are drawn only if they can be written.

    ours: what lies in the folder and is our own.
    """
    said = f"out = {str(out)!r}"
    try:
        if out.exists() and not out.is_dir():
            raise UserError(f"{said}: there is a file of that name; give a new or empty folder.")
        if out.exists() and any(each.name != ours for each in out.iterdir()):
            raise UserError(f"{said}: that folder is not empty; give a new or empty one by --out.")
    except OSError as error:
        raise UserError(
            f"{said}: cannot be used ({error.strerror}); give another folder."
        ) from None
    output.check_writable(out)


def _loaded(request: Request) -> Generator:
    progress.phase("loading the generator")
    kind = tracking.source_kind(request.run_id)
    from pipeline.ops import runtime

    runtime.start(request.seed, None, deterministic=True)
    found = resume.load_one(request.run_id, kind, resume.GENERATOR)
    assert found.latents is not None
    return Generator(
        training.batched(found.call, math.prod(found.output_shape[:2])),
        found.latents,
        found.class_names if found.latents.n_classes else (),
    )


def _classes(request: Request, names: Sequence[str]) -> list[int]:
    """The classes to draw; one, 0, if the generator knows none."""
    if request.wanted is None:
        return list(range(len(names))) or [0]
    said = f"class = {request.wanted!r} (from --class)"
    if not names:
        raise UserError(f"{said}: the generator of that run draws no wanted class; leave it out.")
    if request.wanted not in names:
        listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
        near = suggestion(request.wanted, list(names))
        raise UserError(f"{said}: no such class{near}; the run's are {listed}.")
    return [names.index(request.wanted)]


@contextmanager
def _whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """A folder beside `out` that becomes it at the end, or in it if there is one."""
    there = out.resolve()  # "." has no name
    # A mounted folder is a file system of its own, and the one above it may be read-only.
    above = there if there.exists() else there.parent
    try:
        above.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{there.name[:40]}-", dir=above))
    except OSError as error:
        raise UserError(f"out = {str(out)!r}: cannot be made ({error.strerror}).") from None
    try:
        folder = scratch / there.name  # with the permissions that any new folder has
        folder.mkdir()
        yield folder
        _refuse_folder(out, scratch.name)  # somebody may have filled it meanwhile
        if there.exists():  # somebody's shell may stand in it, so it stays
            for each in folder.iterdir():
                each.rename(there / each.name)
        else:
            folder.rename(there)
    except OSError as error:
        raise UserError(f"out = {str(out)!r}: cannot be written ({error.strerror}).") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(
    request: Request, generator: Generator, classes: Sequence[int], folder: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Write all images; some of them [m, h, w, c], with their classes [m], for the sheet."""
    total, digits = request.n * len(classes), max(4, len(str(request.n - 1)))
    progress.phase("drawing images", total=total, unit="images")
    shown, labels = [], []
    places = _folders(generator.class_names)
    for number, label in enumerate(classes):
        place = folder / places[label] if places else folder
        place.mkdir(exist_ok=True)
        # A stream for each class: its images are the same whatever else is drawn.
        random = np.random.default_rng([request.seed, 0, label])
        for begin in range(0, request.n, AT_ONCE):
            count = min(AT_ONCE, request.n - begin)
            images = _drawn(generator, count, random, label)
            if number < SHEET_ROWS and begin == 0:
                # A copy: a view would keep all that were drawn at once.
                some = images[: SHEET_COLUMNS if places else SHEET_COLUMNS**2].copy()
                shown.append(some)
                labels.append(np.full(len(some), label))
            for place_in, image in enumerate(images, begin):
                picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
                picture.save(place / f"{place_in:0{digits}d}.png")
            interrupts.heed()
            progress.advance(number * request.n + begin + count)
    return np.concatenate(shown), np.concatenate(labels) if places else None


def _drawn(
    generator: Generator, n: int, random: np.random.Generator, label: int
) -> NDArray[np.uint8]:
    """Images [n, h, w, c] of a class, or of none."""
    wanted = np.full(n, label) if generator.class_names else None
    return generator.generate(generator.latents.draw(n, random, wanted))


def _folders(names: Sequence[str]) -> list[str]:
    """A folder's name for each class: the class's own, unless no folder can have it."""
    safe = [re.sub(r"[^\w .+-]", "_", name).strip(" .") for name in names]
    safe = [name.encode()[:LONGEST].decode(errors="ignore") or "_" for name in safe]
    folded = {name.casefold() for name in safe}
    if len(folded) == len(safe) and not folded & {SHEET, INTERPOLATION}:
        return safe
    return [f"{number}-{name}" for number, name in enumerate(safe)]


def _sheet(
    shown: tuple[NDArray[np.uint8], NDArray[np.int64] | None], title: str, names: Sequence[str]
) -> "Figure":
    images, labels = shown
    return figures.sample_grid(_for_eyes(images), title, labels, names or None)


def _for_eyes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images of data whose pixels lie in a small part of 0..255, e.g. 0..16, brightened."""
    brightest = max(int(images.max()), 1)
    if brightest > DARK:
        return images
    return np.asarray(np.rint(images * (255 / brightest)), np.uint8)


def _interpolation(
    request: Request, generator: Generator, classes: Sequence[int], title: str
) -> "Figure":
    """A row for each class, from one drawn image to another; ten rows of a generator without."""
    conditional = bool(generator.class_names)
    rows = list(classes[:SHEET_ROWS]) if conditional else [0] * STEPS
    images = []
    for number, label in enumerate(rows):
        # Streams of their own: the images are the same with the sheet and without.
        random = np.random.default_rng([request.seed, 1, label if conditional else number])
        ends = generator.latents.draw(2, random, np.full(2, label) if conditional else None)
        ways = between(ends[0], ends[1], generator.latents, STEPS)
        images.append(generator.generate(ways))
    labels = np.repeat(rows, STEPS) if conditional else None
    title = f"{title}: from left to right one image becomes another"
    return figures.sample_grid(
        _for_eyes(np.concatenate(images)), title, labels, generator.class_names or None
    )


def between(
    first: NDArray[np.float32], last: NDArray[np.float32], latents: Latents, steps: int
) -> NDArray[np.float32]:
    """Latents [steps, size (+ K)] from one to another of the same class, float32 [size (+ K)].

    Normal ones on an arc (slerp, White 2016, arXiv 1609.04468): on the straight way they would be
    shorter than any that the generator has seen. Uniform ones on the straight way.
    """
    a, b = first[: latents.size].astype(np.float64), last[: latents.size].astype(np.float64)
    t = np.linspace(0, 1, steps)[:, None]
    weights = 1 - t, t
    if latents.distribution == "normal":
        cosine = a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12)
        angle = np.arccos(np.clip(cosine, -1, 1))
        if np.sin(angle) > 1e-6:
            weights = np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    way = weights[0] * a + weights[1] * b
    label = np.repeat(first[None, latents.size :], steps, axis=0)
    return np.hstack([way, label]).astype(np.float32)
