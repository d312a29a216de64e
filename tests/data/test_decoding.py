"""One picture file → one square image."""

import numpy as np
import pytest
from PIL import Image

from pipeline.data import _decoding
from pipeline.data._decoding import Decoded, Target
from tests.data.pictures import noise

RGB = noise(1, 32, 32)


def decoded(folder, image, name="x.png", target=Target(32, 3, "crop"), **options):  # noqa: B008
    """Pixels of an image that went through a file, and what is told of it."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(folder / name, **options)
    scratch = folder / "scratch"
    scratch.write_bytes(b"")
    (about,) = _decoding.decode(str(folder), [name], target, str(scratch), 0)
    pixels = np.fromfile(scratch, np.uint8)
    assert pixels.size == np.prod(target.shape)
    return pixels.reshape(target.shape), about


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_pixels_are_those_of_the_file(tmp_path, kind):
    pixels, about = decoded(
        tmp_path, RGB, format=kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    np.testing.assert_array_equal(pixels, RGB)
    assert about == Decoded(32, 32, grey=False)
    pixels, about = decoded(tmp_path, RGB[..., 0], target=Target(32, 1, "crop"), format="PNG")
    np.testing.assert_array_equal(pixels[..., 0], RGB[..., 0])
    assert about.grey


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "I;16"])
def test_grey_is_told_in_every_mode(tmp_path, mode):
    grey = Image.fromarray(RGB[..., 0])
    image = grey.convert("I").convert("I;16") if mode == "I;16" else grey.convert(mode)
    _, about = decoded(tmp_path, image)
    assert about.grey


def test_transparent_is_white(tmp_path):
    rgba = np.dstack([RGB, np.full((32, 32), 0, np.uint8)])
    rgba[:16, :, 3] = 255
    pixels, _ = decoded(tmp_path, rgba)
    np.testing.assert_array_equal(pixels[:16], RGB[:16])
    assert (pixels[16:] == 255).all()
    la = np.dstack([RGB[..., 0], np.full((32, 32), 51, np.uint8)])
    pixels, _ = decoded(tmp_path, la, target=Target(32, 1, "crop"))
    np.testing.assert_allclose(pixels[..., 0], 255 - (255 - RGB[..., 0] * 1.0) / 5, atol=1)
    palette = Image.fromarray(RGB).quantize(16)
    pixels, _ = decoded(tmp_path, palette, transparency=3)
    assert (pixels[np.asarray(palette) == 3] == 255).all()


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (np.array([0, 257, 65535 - 257, 65535], np.uint16), "PNG", [0, 1, 254, 255]),
        (np.array([0, 257, 65535 - 257, 65535], np.uint16), "TIFF", [0, 1, 254, 255]),
        (np.array([0, 7, 200, 255], np.int32), "TIFF", [0, 7, 200, 255]),
        (np.array([-100, 0, 100, 299], np.int32), "TIFF", [0, 64, 128, 255]),
        (np.array([0, 0.5, 0.2, 1], np.float32), "TIFF", [0, 128, 51, 255]),
        (np.array([0, 7.4, 200, 255], np.float32), "TIFF", [0, 7, 200, 255]),
        (np.array([-1, 0, np.nan, 3], np.float32), "TIFF", [0, 64, 0, 255]),
        (np.array([-1, 0, np.inf, 3], np.float32), "TIFF", [0, 64, 255, 255]),
        (np.full(4, 1000, np.int32), "TIFF", [0, 0, 0, 0]),
    ],
)
def test_more_than_eight_bits(tmp_path, values, kind, expected):
    image = np.repeat(np.repeat(values.reshape(2, 2), 4, 0), 4, 1)
    pixels, _ = decoded(tmp_path, image, target=Target(8, 1, "crop"), format=kind)
    assert pixels[::4, ::4].ravel().tolist() == expected


def test_a_sixteen_bit_portable_greymap_is_divided_too(tmp_path):
    values = np.array([0, 257, 514, 771], ">u2").repeat(16)
    (tmp_path / "x.pgm").write_bytes(b"P5 8 8 65535\n" + values.tobytes())
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"")
    _decoding.decode(str(tmp_path), ["x.pgm"], Target(8, 1, "crop"), str(scratch), 0)
    assert sorted(set(scratch.read_bytes())) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pictures_are_turned(tmp_path, kind, orientation):
    """A bright left half is where the orientation puts it, and sizes are those that are seen."""
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, about = decoded(
        tmp_path, picture, target=Target(16, 3, "pad"), format=kind, exif=exif.tobytes()
    )
    bright = {
        1: np.s_[4:12, :7],
        3: np.s_[4:12, 9:],
        6: np.s_[:7, 4:12],
        8: np.s_[9:, 4:12],
    }
    dark = {1: bright[3], 3: bright[1], 6: bright[8], 8: bright[6]}
    assert pixels[bright[orientation]].mean() > 235
    assert pixels[dark[orientation]].mean() < 20
    assert about[:2] == ((64, 32) if orientation in (1, 3) else (32, 64))


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_a_turned_tiff_without_compression_is_what_the_png_is(tmp_path, mode, orientation):
    picture = Image.fromarray(noise(4, 60, 40)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = {}
    for kind in ("TIFF", "PNG"):
        stored = picture.convert("RGB") if (mode, kind) == ("CMYK", "PNG") else picture
        pixels[kind], about = decoded(tmp_path, stored, f"x.{kind}", format=kind, exif=exif)
        assert about[:2] == ((60, 40) if orientation == 3 else (40, 60))
    np.testing.assert_array_equal(pixels["TIFF"], pixels["PNG"])


def test_crop_keeps_the_middle_and_pad_all(tmp_path):
    picture = np.zeros((20, 60), np.uint8)
    picture[:, 20:40] = 200
    pixels, about = decoded(tmp_path, picture, target=Target(20, 1, "crop"))
    assert (pixels == 200).all()
    assert about[:2] == (60, 20)
    tall = np.full((60, 20, 3), (10, 60, 110), np.uint8)
    pixels, _ = decoded(tmp_path, tall, target=Target(30, 3, "pad"))
    assert (pixels == (10, 60, 110)).all(), "what is filled up has the colour of the edge"
    tall[20:40] = 255
    pixels, _ = decoded(tmp_path, tall, target=Target(30, 3, "pad"))
    assert pixels[15, 15].tolist() == [255] * 3


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5), (2000, 1500)])
def test_any_size_becomes_a_square(tmp_path, size, fit):
    pixels, about = decoded(tmp_path, noise(2, *size), "x.jpg", Target(24, 3, fit))
    assert pixels.max() > 0
    assert about.reason == ""
    assert about[:2] == size


def test_a_large_jpeg_is_as_if_reduced_from_all_its_pixels(tmp_path):
    picture = noise(3, 1600, 1200)
    pixels, _ = decoded(tmp_path, picture, "x.jpg", Target(32, 3, "crop"), quality=95)
    middle = Image.fromarray(picture[:, 200:1400]).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(pixels.astype(int) - np.asarray(middle)).mean() < 2


def test_the_first_frame_counts(tmp_path):
    frames = [Image.fromarray(np.full((32, 32), value, np.uint8)) for value in (10, 200)]
    for kind in ("GIF", "TIFF"):
        pixels, _ = decoded(
            tmp_path, frames[0], format=kind, save_all=True, append_images=frames[1:]
        )
        assert (pixels == 10).all()
