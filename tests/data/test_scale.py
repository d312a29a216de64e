"""Pictures of more than eight bits: one scale for all of a folder."""

import numpy as np
import pytest
from PIL import Image

from pipeline import data
from pipeline.data import Options, new_pictures
from pipeline.errors import UserError
from tests.data.files import one_line
from tests.data.pictures import noise


def write(folder, levels, kind, suffix="png"):
    """Grey pictures of two classes, 32 x 32, from 0 to each of the levels; the grey they show."""
    shown = {}
    for k, highest in enumerate(levels):
        for name in ("cat", "dog"):
            grey = noise(10 * k + len(shown), 32, 32, channels=1) / 255.0
            grey[0, :2] = 0, 1
            path = folder / name / f"{k}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((grey * highest).astype(kind)).save(path)
            shown[f"{name}/{k}.{suffix}"] = grey * highest
    return shown


def read(folder, **options):
    dataset = data.load("folder", folder, Options(**options))
    images = np.concatenate([dataset.train_images, dataset.test_images])[..., 0]
    return dataset, dict(zip([*dataset.train_files, *dataset.test_files], images, strict=True))


def sentence(dataset):
    return next((f.sentence for f in dataset.findings if f.name == "deep_pictures"), "")


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("levels", "white"),
    [
        ((200, 255, 180, 90), 255),
        ((1000, 1023, 300, 800), 1023),
        ((4095, 2000, 3000, 100), 4095),
        ((4096, 2000, 3000, 100), 8191),
        ((65535, 40000, 3000, 100), 65535),
    ],
)
def test_sixteen_bits_of_a_folder_have_one_white(tmp_path, levels, white, suffix):
    shown = write(tmp_path, levels, np.uint16, suffix)
    dataset, images = read(tmp_path)
    for file, values in shown.items():
        expected = np.floor(values) * 255 / white
        np.testing.assert_allclose(images[file], expected, atol=0.51, err_msg=file)
    told = f"so {white:,} is white" in sentence(dataset)
    assert told == (white != 65535)


@pytest.mark.parametrize(
    ("kind", "levels", "ends"),
    [
        ("float32", (1, 0.9, 0.2, 0.7), (0, 1)),
        ("float32", (1.0097, 1, 0.9, 0.2), (0, 1.0097)),
        ("float32", (255, 200, 20, 0.9), (0, 255)),
        ("float32", (7.5, 3, 2, 1), (0, 7.5)),
        ("float32", (2000, 30, 2, 1), (0, 2000)),
        ("int32", (255, 200, 20, 1), (0, 255)),
        ("int32", (70000, 200, 20, 1), (0, 70000)),
    ],
)
def test_floats_and_other_whole_numbers_too(tmp_path, kind, levels, ends):
    shown = write(tmp_path, levels, kind, "tif")
    dataset, images = read(tmp_path)
    for file, values in shown.items():
        expected = values.astype(kind) * (255 / ends[1])
        np.testing.assert_allclose(images[file], expected, atol=0.51, err_msg=file)
    assert (f"{ends[0]:g} is black and {ends[1]:g} is white" in sentence(dataset)) == (
        ends[1] not in (1, 255)
    )


def test_a_file_that_cannot_be_used_has_no_say(tmp_path):
    write(tmp_path, (4095, 4000, 3000), np.uint16)
    path = tmp_path / "cat" / "broken.png"
    Image.fromarray(noise(1, 32, 32, channels=1).astype(np.uint16) * 257).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    dataset, _ = read(tmp_path)
    assert "so 4,095 is white" in sentence(dataset)
    assert "unreadable" in {found.name for found in dataset.findings}


def test_the_kept_pictures_know_their_scale_and_new_ones_are_read_on_it(tmp_path):
    write(tmp_path / "mine", (4095, 2000, 3000), np.uint16)
    first, images = read(tmp_path / "mine")
    again, _ = read(tmp_path / "mine")
    assert again.scale == first.scale != ""
    write(tmp_path / "new", (500,), np.uint16)
    for folder, scale, white in (
        ("mine", first.scale, 4095),
        ("new", first.scale, 4095),
        ("new", "", 65535),
    ):
        with new_pictures.opened(tmp_path / folder, 32, 1, "crop", scale) as pictures:
            (some,) = pictures.parts(100)
            for file, image in zip(pictures.names, some[..., 0], strict=True):
                values = np.asarray(Image.open(tmp_path / folder / file)).astype(float)
                np.testing.assert_allclose(image, values * 255 / white, atol=0.51)
                if folder == "mine":
                    np.testing.assert_array_equal(image, images[file])


def test_pictures_of_eight_bits_need_none(tmp_path):
    write(tmp_path, (255, 200, 90), np.uint8)
    dataset, _ = read(tmp_path)
    assert dataset.scale == sentence(dataset) == ""


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"sixteen": "a", "whole": null}', "3"])
def test_a_damaged_scale_is_told(tmp_path, text):
    write(tmp_path, (255,), np.uint8)
    with (
        pytest.raises(UserError, match="is no scale of grey values") as error,
        new_pictures.opened(tmp_path, 32, 1, "crop", text),
    ):
        pass
    one_line(error)


@pytest.mark.parametrize(
    ("levels", "kind", "said"),
    [
        ((4080, 300), np.uint16, "16-bit values reach 4,080 only, and 65,535 is white"),
        ((60000, 300), np.uint16, ""),
        ((300.0, 700.0), np.float32, "4 of these pictures have values"),
        ((1.0, 0.5), np.float32, ""),
        ((255, 90), np.uint8, ""),
    ],
)
def test_new_pictures_that_the_model_has_no_scale_for_are_told(tmp_path, levels, kind, said):
    write(tmp_path, levels, kind, "tif")
    with new_pictures.opened(tmp_path, 32, 1, "crop", "") as pictures:
        assert pictures.unscaled.startswith(said) if said else not pictures.unscaled


def test_a_faulty_bright_pixel_among_dark_pictures_is_told(tmp_path):
    write(tmp_path / "sound", (65535, 40000, 30000, 20000), np.uint16)
    assert sentence(read(tmp_path / "sound")[0]) == ""
    write(tmp_path / "faulty", (65535, 4095, 4095, 4095), np.uint16)
    assert "half of the 16-bit pictures reach 4,095 at most" in sentence(
        read(tmp_path / "faulty")[0]
    )
