"""What is told of decoded pictures: odd sizes, blank ones, and all of it together."""

import numpy as np
import pytest

from pipeline.data._checks import picture_findings
from pipeline.data._picture_checks import blank_images, odd_sizes

FILES = ["a.png", "b.png", "c.png", "d.png"]
SIZES = np.array([(64, 64), (20, 16), (100, 400), (193, 64)])  # height, width


def test_enlarged_and_cropped_pictures_are_told():
    finding = odd_sizes(FILES, SIZES, 32, "crop")
    assert finding.count == 3
    assert finding.rows == (
        ("b.png", "16×20 pixels, enlarged 2.0 times"),
        ("c.png", "400×100 pixels, 75% cut off"),
        ("d.png", "64×193 pixels, 67% cut off"),
    )
    assert finding.sentence == (
        "3 of 4 pictures have odd sizes for images of 32×32: 1 enlarged 2 times or more, so they "
        "look blurred, and 2 with one side more than 3 times the other, so most is cut off; remove "
        "them, cut them to what matters, choose a smaller image_size or say fit=pad"
    )


def test_padded_pictures_are_measured_by_their_longer_side():
    assert odd_sizes(FILES[:2], SIZES[:2], 32, "pad") is None
    finding = odd_sizes(FILES, SIZES, 32, "pad")
    assert finding.rows == (
        ("c.png", "400×100 pixels, 75% of the image is padding"),
        ("d.png", "64×193 pixels, 67% of the image is padding"),
    )
    assert "fit=pad" not in finding.sentence
    assert odd_sizes(FILES[:1], SIZES[:1], 32) is None


RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (12, 40, 40, 3), np.uint8)


def test_blank_images_of_both_parts_are_told():
    images = NOISE.copy()
    images[2] = (200, 30, 90)  # one colour
    images[5] = 255 - RNG.integers(0, 4, images[5].shape)  # nearly white
    images[8, 17, 17] = 0  # a dot does not make an image blank
    images[9] = 128
    images[9, ::2] = 134  # low contrast is not blank
    files = [f"{i}.png" for i in range(12)]
    finding = blank_images((images[:4], images[4:]), files, (0, 255))
    assert finding.rows == (
        ("2.png", "standard deviation 0.0"),
        ("5.png", "standard deviation 1.1"),
    )
    assert "2 of 12 images are blank or nearly so" in finding.sentence


def test_a_dot_between_the_pixels_looked_at_first_is_no_reason_to_call_an_image_blank():
    images = np.full((2, 64, 64, 1), 255, np.uint8)
    images[0, 21:24, 21:24] = 0  # a small thing on white
    finding = blank_images((images,), FILES[:2], (0, 255))
    assert finding.rows == (("b.png", "standard deviation 0.0"),)


def test_images_in_a_narrow_range_are_not_blank_for_that():
    assert blank_images((NOISE // 128,), FILES * 3, (0, 1)) is None
    assert blank_images((NOISE // 16,), FILES * 3, (0, 15)) is None


@pytest.mark.parametrize("mapped", [False, True])
def test_all_findings_on_pictures_come_together(tmp_path, mapped):
    images = NOISE.copy()
    images[3] = images[1] // 8 * 8  # coarser
    images[10] = images[0] // 8 * 8
    images[6] = 7
    if mapped:
        np.save(tmp_path / "images.npy", images)
        images = np.load(tmp_path / "images.npy", mmap_mode="r")
    files = [f"{i}.png" for i in range(12)]
    sizes = np.full((12, 2), 40)
    sizes[11] = 10, 10
    labels = np.array([0, 0, 1, 1, 0, 1, 0, -1, -1])
    findings = picture_findings(
        images[:9], labels, images[9:], files[:9], files[9:], sizes[:9], sizes[9:]
    )
    assert [(finding.name, finding.rows) for finding in findings] == [
        ("near_equal_leaks", (("10.png", "nearly equal to 0.png"),)),
        ("near_equal_train", (("3.png", "nearly equal to 1.png"),)),
        ("near_equal_contradictions", (("3.png", "nearly equal to 1.png"),)),
        ("odd_sizes", (("11.png", "10×10 pixels, enlarged 4.0 times"),)),
        ("blank_images", (("6.png", "standard deviation 0.0"),)),
    ]
