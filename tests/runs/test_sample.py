"""The command `sample` on runs of a few steps: what it writes, and what it refuses in one line."""

import errno
import os
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from pipeline.__main__ import main
from pipeline.config import layers as config
from pipeline.networks.spec import Latents
from pipeline.runs import flow, sample
from pipeline.runs.sample import _folders, between

pytestmark = pytest.mark.slow

SHORT = {"steps": "4", "label_frac": "0.1", "baseline": "false"}


def trained(method: str, **more: str) -> str:
    split = flow.split(config.load({**SHORT, "method": method, **more}))
    return flow.train({"run_id": split.run_id}).run_id


@pytest.fixture(scope="module")
def conditional(module_store: Path) -> str:
    """A run whose generator knows the classes 0 to 9."""
    return trained("seed_gan")


@pytest.fixture(scope="module")
def unconditional(module_store: Path) -> str:
    """A run whose generator draws whatever it likes."""
    return trained("feature_matching")


@pytest.fixture
def place(module_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def pixels(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*/0*.png"))]


# ---------------------------------------------------------------- what is written


def test_images_lie_in_a_folder_of_their_class(conditional: str, place: Path, capsys) -> None:
    assert main(["sample", "--run_id", conditional, "--n", "3"]) == 0
    out = place / f"samples-{conditional}"
    images = {f"{label}/000{number}.png" for label in range(10) for number in range(3)}
    assert files(out) == {*images, "contact_sheet.png"}
    assert {image.shape for image in pixels(out)} == {(8, 8)}
    assert Image.open(out / "contact_sheet.png").size[0] > 500
    said = capsys.readouterr().out
    assert said.startswith(f"30 images of 10 classes written to samples-{conditional}")
    assert [path.name for path in place.iterdir()] == [out.name]


def test_the_images_are_those_of_the_logged_generator(conditional: str, place: Path) -> None:
    assert main(["sample", "--run_id", conditional, "--n", "2", "--out", "a", "--seed", "7"]) == 0
    client = mlflow.MlflowClient()
    (found,) = client.search_logged_models(
        [client.get_run(conditional).info.experiment_id],
        f"source_run_id = '{conditional}' AND tags.`ssgan.role` = 'generator'",
    )
    generator = mlflow.pyfunc.load_model(f"models:/{found.model_id}")
    latents = Latents(**generator.metadata.metadata["latents"])
    streams = [np.random.default_rng([7, 0, label]) for label in range(10)]
    fed = [latents.draw(2, random, np.full(2, label)) for label, random in enumerate(streams)]
    expected = generator.predict(np.concatenate(fed))[..., 0]
    written = np.stack(pixels(place / "a"))
    assert np.abs(written.astype(int) - expected).max() <= 1  # other batches, other rounding


def test_a_seed_gives_the_same_images_and_another_one_others(conditional: str, place: Path) -> None:
    for out, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        flags = ["--run_id", conditional, "--n", "2", "--class", "4", "--seed", seed]
        more = ["--interpolate", "true"] if out == "b" else []
        assert main(["sample", *flags, *more, "--out", out]) == 0
    assert files(place / "a") == {"4/0000.png", "4/0001.png", "contact_sheet.png"}
    assert files(place / "b") == files(place / "a") | {"interpolation.png"}
    a, b, c = (np.stack(pixels(place / out)) for out in "abc")
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_a_seed_gives_a_class_the_same_images_whatever_else_is_drawn(
    conditional: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sample", "--run_id", conditional, "--n", "3", "--out", "all"]) == 0
    monkeypatch.setattr(sample, "AT_ONCE", 1)
    flags = ["--run_id", conditional, "--n", "2", "--class", "4", "--out", "four"]
    assert main(["sample", *flags]) == 0
    for name in ("0000.png", "0001.png"):
        assert (place / "four/4" / name).read_bytes() == (place / "all/4" / name).read_bytes()
    first, second = (np.asarray(Image.open(place / f"all/{label}/0000.png")) for label in (4, 5))
    assert (first != second).any()


def test_a_generator_without_classes_fills_one_folder(
    unconditional: str, place: Path, capsys
) -> None:
    (place / "mine").mkdir()
    flags = ["--run_id", unconditional, "--n", "1", "--out", "mine", "--interpolate", "true"]
    assert main(["sample", *flags]) == 0
    assert files(place / "mine") == {"0000.png", "contact_sheet.png", "interpolation.png"}
    assert capsys.readouterr().out.startswith("1 image written to mine")


@pytest.mark.parametrize("out", [".", "../mine", 250 * "a"])
def test_an_empty_folder_is_filled_and_stays(
    out: str, unconditional: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "mine").mkdir()
    monkeypatch.chdir(place / "mine")
    assert main(["sample", "--run_id", unconditional, "--n", "1", "--out", out]) == 0
    assert files(Path.cwd() / out) == {"0000.png", "contact_sheet.png"}
    assert Path.cwd().exists()


def test_an_empty_folder_may_be_a_file_system_of_its_own(
    unconditional: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder mounted into a container, where nothing is renamed across its border."""
    mounted, rename = place / "mounted", Path.rename
    mounted.mkdir()

    def renamed(self: Path, target: Path) -> Path:
        if self.is_relative_to(mounted) != Path(target).is_relative_to(mounted):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)
    assert main(["sample", "--run_id", unconditional, "--n", "1", "--out", "mounted"]) == 0
    assert files(mounted) == {"0000.png", "contact_sheet.png"}
    assert [path.name for path in mounted.iterdir() if path.is_dir()] == []


def test_an_empty_folder_is_filled_where_the_one_above_cannot_be_written(
    unconditional: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "mine").mkdir()
    mkdtemp = tempfile.mkdtemp

    def refused(*args: str, **options: str) -> str:  # root may write anywhere
        if options.get("dir") == place:
            raise PermissionError(errno.EACCES, "Permission denied")
        return mkdtemp(*args, **options)

    monkeypatch.setattr(sample.tempfile, "mkdtemp", refused)
    assert main(["sample", "--run_id", unconditional, "--n", "1", "--out", "mine"]) == 0
    assert files(place / "mine") == {"0000.png", "contact_sheet.png"}


def test_a_folder_that_is_filled_meanwhile_is_left_as_it_is(
    unconditional: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (place / "mine").mkdir()
    save = Image.Image.save

    def saved(image: Image.Image, path: Path, **options: object) -> None:
        (place / "mine" / "kept.txt").write_text("mine")
        save(image, path, **options)

    monkeypatch.setattr(Image.Image, "save", saved)
    said = _last(["--run_id", unconditional, "--n", "1", "--out", "mine"], capsys)
    assert "out = 'mine': that folder is not empty" in said
    assert files(place / "mine") == {"kept.txt"}


def test_under_the_launcher_its_run_keeps_the_sheet(
    conditional: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    assert main(["sample", "--run_id", conditional, "--n", "1", "--out", "out"]) == 0
    run = client.get_run(made)
    assert run.info.status == "FINISHED"
    assert run.data.tags["ssgan.kind"] == "sample"
    assert run.data.tags["ssgan.source"] == conditional
    assert [f.path for f in client.list_artifacts(made, "figures")] == ["figures/contact_sheet.png"]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"run_id": "f" * 32}, "there is no such run in sqlite:"),
        ({"run_id": ""}, "sample needs run_id"),
        ({"n": "0"}, "n = '0' (from --n): give a whole number from 1 on"),
        ({"n": "many"}, "n = 'many' (from --n)"),
        ({"seed": "-1"}, "seed = '-1' (from --seed)"),
        ({"interpolate": "yes"}, "interpolate = 'yes' (from --interpolate): give true or false"),
        ({"class": "77"}, "class = '77' (from --class): no such class, did you mean 7?; the run's"),
        ({"clas": "7"}, "--clas: sample does not know it, did you mean class?"),
        ({"steps": "7"}, "--steps: sample does not know it; it takes --run_id, --n"),
        ({"out": "full"}, "out = 'full': that folder is not empty"),
        ({"out": "file"}, "out = 'file': there is a file of that name"),
        ({"out": "file/below"}, "out = 'file/below'"),
        ({"out": 300 * "a"}, "(File name too long); give another folder"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    flags: dict[str, str], says: str, conditional: str, place: Path, capsys
) -> None:
    (place / "full").mkdir()
    (place / "full" / "kept.txt").write_text("mine")
    (place / "file").write_text("mine")
    before = files(place)
    given = {"run_id": conditional, **flags}
    assert main(["sample", *(f"--{key}={value}" for key, value in given.items())]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert files(place) == before
    assert {path.name for path in place.iterdir()} == {"full", "file"}


def test_a_run_without_a_generator_says_why(
    unconditional: str, module_store: Path, place: Path, capsys
) -> None:
    split = mlflow.MlflowClient().get_run(unconditional).data.tags["ssgan.source"]
    supervised = trained("supervised")
    for run_id, kind in ((split, "split"), (supervised, "train")):
        assert main(["sample", "--run_id", run_id]) == 2
        assert f"of kind '{kind}', has no generator" in capsys.readouterr().err.splitlines()[-1]
    assert "method supervised trains none" in _last(["--run_id", supervised], capsys)
    without = trained("ssgan", generator="false", warm_up_share="0")
    assert "trained no generator (generator: false)" in _last(["--run_id", without], capsys)
    mlflow.MlflowClient().set_tag(without, "ssgan.generator_lost", "training diverged: so")
    assert _last(["--run_id", without], capsys).endswith("lost in training: training diverged: so")
    assert "draws no wanted class" in _last(["--run_id", unconditional, "--class", "3"], capsys)
    assert not list(place.iterdir())


def _last(flags: list[str], capsys) -> str:
    assert main(["sample", *flags]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_an_end_in_the_middle_leaves_nothing(
    conditional: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert "No space left on device" in _last(["--run_id", conditional, "--n", "1"], capsys)
    assert not list(place.iterdir())


# ---------------------------------------------------------------- parts


def test_the_conditional_generator_loads_in_a_fresh_process(conditional: str, place: Path) -> None:
    """From latents and one-hot classes, without our code, without unpickling."""
    client = mlflow.MlflowClient()
    (found,) = client.search_logged_models(
        [client.get_run(conditional).info.experiment_id],
        f"source_run_id = '{conditional}' AND tags.`ssgan.role` = 'generator'",
    )
    script = (
        "import mlflow, numpy as np, sys\n"
        f"model = mlflow.pyfunc.load_model('models:/{found.model_id}')\n"
        "latents = model.metadata.metadata['latents']\n"
        "n, K = latents['size'], latents['n_classes']\n"
        "(takes,), (gives,) = model.metadata.signature.inputs, model.metadata.signature.outputs\n"
        "assert takes.shape == (-1, n + K) and gives.shape == (-1, 8, 8, 1), (takes, gives)\n"
        "assert model.predict(model.input_example).shape == (4, 8, 8, 1)\n"
        "z = np.random.default_rng(0).standard_normal((K, n), np.float32)\n"
        "images = model.predict(np.hstack([z, np.eye(K, dtype=np.float32)]))\n"
        "assert images.dtype == np.uint8 and images.std() > 0\n"
        "assert model.metadata.metadata['class_names'][3] == '3'\n"
        "assert not any(name.startswith('pipeline') for name in sys.modules)\n"
    )
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=place, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_way_between_normal_latents_keeps_their_length_and_class() -> None:
    latents = Latents(64, "normal", 3)
    a, b = latents.draw(2, np.random.default_rng(0), np.array([1, 1]))
    way = between(a, b, latents, 9)
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-6)
    lengths = np.linalg.norm(way[:, :64], axis=1)
    assert lengths.min() > 0.95 * min(lengths[0], lengths[-1])
    assert np.linalg.norm((a + b)[:64] / 2) < 0.8 * lengths[0]  # as on the straight way
    assert (way[:, 64:] == [0, 1, 0]).all()
    uniform = Latents(5, "uniform")
    c, d = uniform.draw(2, np.random.default_rng(0))
    np.testing.assert_allclose(between(c, d, uniform, 3)[1], (c + d) / 2, atol=1e-6)


def test_a_sheet_keeps_none_of_the_images_that_it_does_not_show(tmp_path: Path) -> None:
    """Of each class up to a thousand, each up to 0.2 MB."""
    drawn, alive = [], []

    def generate(latents: np.ndarray) -> np.ndarray:
        images = np.zeros((len(latents), 8, 8, 1), np.uint8)
        alive.append(sum(each() is not None for each in drawn))
        drawn.append(weakref.ref(images))
        return images

    names = [f"kind {number}" for number in range(6)]
    generator = sample.Generator(generate, Latents(4, "normal", 6), names)
    request = sample.Request("", 20, None, tmp_path, 0, False)
    shown, _ = sample._write(request, generator, range(6), tmp_path)
    assert len(shown) == 60
    assert max(alive) <= 1


def test_every_class_has_a_folder_of_its_own() -> None:
    assert _folders(["cat", "dog"]) == ["cat", "dog"]
    assert _folders(["a/b", "..", "Größe 2"]) == ["a_b", "_", "Größe 2"]
    assert _folders(["a/b", "a:b", "A_B"]) == ["0-a_b", "1-a_b", "2-A_B"]
    assert _folders(["a", "Contact_Sheet.png"]) == ["0-a", "1-Contact_Sheet.png"]
    assert _folders(["interpolation.png"]) == ["0-interpolation.png"]


def test_a_class_of_any_name_gets_a_folder_that_can_be_made(tmp_path: Path) -> None:
    for folder in _folders([100 * "猫", 100 * "犬", 300 * "a", 100 * "猫" + "b"]):
        (tmp_path / folder).mkdir()
