import io
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from sklearn.datasets import load_digits

from pipeline import figures
from pipeline.figures import curves, style
from pipeline.figures.images import GAP_GREY
from pipeline.networks.spec import Latents

NAMES = [str(k) for k in range(10)]


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return np.round(data.images * 255 / 16).astype(np.uint8)[..., None], data.target


@pytest.fixture(scope="module")
def predictions(digits):
    """Two mistakes, the image at position 7 with more confidence than the one at 3."""
    y = digits[1][:50].astype(np.int64)
    frame = pd.DataFrame({"index": range(50), "label": y, "predicted": y, "confidence": 0.9})
    frame.loc[3, ["predicted", "confidence"]] = (8, 0.6)
    frame.loc[7, ["predicted", "confidence"]] = (1, 0.8)
    return frame


def drawn(figure):
    """The figure as pixels; drawing is where a wrong figure fails."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    return imread(file)


def test_contact_sheet_puts_every_enlarged_tile_in_its_place(digits):
    images = digits[0][:5]
    sheet = figures.contact_sheet(images, columns=3)
    assert sheet.shape == (2 * 32 + 2, 3 * 32 + 2 * 2, 3)  # 8 pixels x 4, gap 2
    assert sheet.dtype == np.uint8
    fourth = sheet[34:66, 0:32]
    np.testing.assert_array_equal(fourth[::4, ::4], np.repeat(images[3], 3, axis=-1))
    np.testing.assert_array_equal(fourth[3::4, 3::4], fourth[::4, ::4])
    assert (sheet[32:34] == GAP_GREY).all()
    assert (sheet[34:, 68:] == GAP_GREY).all()  # the place of the missing sixth


def test_a_class_sheet_names_its_rows(digits):
    images, classes = digits[0][:6], np.array([1, 1, 1, 0, 0, 0])
    sheet = figures.class_sheet(images, classes, ["nought", "one"])
    plain = figures.contact_sheet(images, columns=3)
    margin = sheet[:, : sheet.shape[1] - plain.shape[1]]
    np.testing.assert_array_equal(sheet[:, margin.shape[1] :], plain)
    inked = [(margin[rows].min(axis=2) < 128).sum() for rows in (slice(0, 32), slice(34, 66))]
    assert 0 < inked[0] < inked[1]  # "one" above "nought"


def margin(names):
    """What stands before the rows of a sheet."""
    images = np.zeros((len(names), 8, 8, 1), np.uint8)
    return figures.class_sheet(images, np.arange(len(names)), names)[:, :-32]


def test_rows_are_named_in_any_script(monkeypatch):
    assert not np.array_equal(margin(["é", "a"]), margin(["ü", "a"]))
    assert not np.array_equal(margin(["я"]), margin(["ж"]))
    unknown = margin(["\u1d84"])  # DejaVu has no such sign, STIX has
    monkeypatch.setattr(style, "CJK", ("No such font", "STIXGeneral"))
    assert not np.array_equal(margin(["\u1d84"]), unknown)


def test_rows_with_plain_names_look_as_ever(monkeypatch):
    monkeypatch.setattr("pipeline.figures.images.font_file", None)  # only for other scripts
    assert (margin(["nought", "a name that is far too long"]).min(axis=2) < 128).any()


def test_contact_sheet_of_long_images_stays_small():
    assert figures.contact_sheet(np.zeros((20, 1, 3000, 1), np.uint8), 10).shape == (4, 30018, 3)
    assert figures.contact_sheet(np.zeros((4, 100, 3, 1), np.uint8), 2).shape == (402, 14, 3)


def test_contact_sheet_keeps_large_colour_images_and_refuses_other_channels():
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), dtype=np.uint8)
    sheet = figures.contact_sheet(images, columns=8)
    assert sheet.shape == (40, 62, 3)
    np.testing.assert_array_equal(sheet[:, 32:], images[1])
    for wrong in (images[..., :2], images[:0], images[0]):
        with pytest.raises(ValueError, match="images"):
            figures.contact_sheet(wrong, columns=2)


def test_confusion_matrix_writes_the_counts_and_n():
    confusion = np.diag(np.full(10, 1234)) + np.eye(10, k=1, dtype=int) * 7
    figure = figures.confusion_matrix(confusion, NAMES, "digits")
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert (cells.count("1,234"), cells.count("7"), len(cells)) == (10, 9, 19)
    assert "12,403 images, 63 mistakes" in figure.get_suptitle()
    assert drawn(figure).ndim == 3


LEAVES = [
    *("Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot", "Corn_(maize)___Common_rust_"),
    *("Corn_(maize)___Northern_Leaf_Blight", "Corn_(maize)___healthy", "Apple___Black_rot"),
]


def test_classes_that_begin_alike_have_names_of_their_own(digits, predictions):
    figure = figures.confusion_matrix(np.eye(5, dtype=int), LEAVES, "leaves")
    for ticks in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        names = [tick.get_text() for tick in ticks]
        assert names[1:] == [
            "Corn_(m…on_rust_",
            "Corn_(m…f_Blight",
            "Corn_(m…_healthy",
            "Apple___Black_r…",
        ]
    sheet = figures.sample_grid(digits[0][:5], "samples", np.arange(5), LEAVES)
    rows = [tick.get_text() for tick in sheet.axes[0].get_yticklabels()]
    assert len(set(rows)) == 5
    named = margin(LEAVES)
    assert len({named[34 * row :][:32].tobytes() for row in range(5)}) == 5
    wrong = predictions.assign(label=np.arange(50) % 4, predicted=(np.arange(50) + 1) % 4)
    shown = [axes.get_title() for axes in figures.mistakes(digits[0], wrong, LEAVES, "x").axes]
    assert len({caption.partition(",")[0] for caption in shown}) == 4


@pytest.mark.parametrize("length", [12, 16, 20])
def test_short_names_are_told_apart_and_fit(length):
    middle = [f"a long beginning {number:03} and a long end" for number in range(200)]
    names = ["cat", "a cat of a long name", *LEAVES, *middle]
    short = style.shortened(names, length)
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= length
    assert short[0] == "cat"
    assert style.shortened(["a cat of a very long name"], length)[0].startswith("a cat of a")


def test_mistakes_come_with_the_most_confident_first(digits, predictions):
    figure = figures.mistakes(digits[0], predictions, NAMES, "digits")
    captions = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert captions == ["7\n→ 1, 80%", "3\n→ 8, 60%"]
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[::4, ::4, 0], digits[0][7, :, :, 0])
    assert "2 mistakes in 50 images" in figure.get_suptitle()
    drawn(figure)

    perfect = predictions.assign(predicted=predictions["label"])
    assert "0 mistakes" in figures.mistakes(digits[0], perfect, NAMES, "digits").get_suptitle()


def test_sample_grid_has_one_class_per_row(digits):
    images, labels = digits[0][:40], digits[1][:40]
    figure = figures.sample_grid(images, "samples", labels, NAMES)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == NAMES
    centre = round(axes.get_yticks()[4])
    sheet = axes.images[0].get_array()
    first_four = images[labels == 4][0, :, :, 0]
    np.testing.assert_array_equal(sheet[centre - 16 : centre + 16 : 4, 0:32:4, 0], first_four)
    drawn(figure)
    assert "40 samples" in figures.sample_grid(images, "samples").get_suptitle()


@pytest.mark.parametrize(("n_classes", "rows"), [(2, 2), (20, 20), (21, 20), (100, 20), (1000, 20)])
def test_of_many_classes_some_are_shown_several_times(n_classes, rows):
    labels = Latents(8, "normal", n_classes).grid_labels(100)
    images = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), np.uint8)
    figure = figures.sample_grid(images, "samples", labels, [f"kind {i}" for i in range(n_classes)])
    axes = figure.axes[0]
    assert len(axes.get_yticklabels()) == rows
    height, width = axes.images[0].get_array().shape[:2]
    assert width / height == pytest.approx(100 / rows / rows, rel=0.05)
    told = f"{rows} of {n_classes} classes" in figure.get_suptitle()
    assert told == (n_classes > rows)
    drawn(figure)


def test_sample_pairs_show_the_training_image_below_its_sample(digits):
    samples, training = digits[0][:12].reshape(2, 6, 8, 8, 1), digits[0][12:24]
    figure = figures.sample_pairs(samples, training.reshape(2, 6, 8, 8, 1), "run")
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["nearest pairs", "training", "any samples", "training"]
    sheet, step = axes.images[0].get_array(), 8 * 4 + 2
    for row, images in enumerate((samples[0], training[:6], samples[1], training[6:])):
        tile = sheet[row * step : row * step + 32 : 4, 5 * step : 5 * step + 32 : 4, 0]
        np.testing.assert_array_equal(tile, images[5, :, :, 0])
    drawn(figure)


def test_label_counts_stack_validation_on_training_labels():
    manifest = pd.DataFrame(
        {
            "index": range(7),
            "part": ["labelled"] * 3 + ["valid", "unlabelled", "unlabelled", "test"],
            "label": [0, 0, 1, 0, -1, -1, -1],
        }
    )
    figure = figures.label_counts(manifest, ["cat", "$odd_dog"], "split")
    bars = [(bar.get_y(), bar.get_height()) for bar in figure.axes[0].patches]
    assert bars == [(0, 2), (0, 1), (2, 1), (1, 0)]
    assert "4 labels: 3 for training, 1 for validation" in figure.get_suptitle()
    drawn(figure)


def test_learning_curves_have_a_panel_for_each_unit():
    history = pd.DataFrame(
        {
            "step": [20, 10, 10, 20, 10],
            "name": ["train/a_loss", "train/a_loss", "train/b_loss", "valid/error", "train/speed"],
            "value": [1.0, 2.0, np.nan, 0.1, 5.0],
        }
    )
    figure = figures.learning_curves(history, "run")
    assert [axes.get_ylabel() for axes in figure.axes] == ["error (share)", "loss", "speed"]
    line = figure.axes[1].lines[0]
    assert list(line.get_xdata()) == [10, 20]
    assert "20 optimiser steps" in figure.get_suptitle()
    drawn(figure)
    drawn(figures.learning_curves(history[:0], "no report yet"))


def test_reliability_draws_bins_and_leaves_out_empty_ones():
    edges = np.linspace(0, 1, 16)
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": 0})
    frame[["confidence", "accuracy"]] = np.nan
    frame.loc[14, ["n", "confidence", "accuracy"]] = (30, 0.97, 0.9)
    figure = figures.reliability(frame, 0.07, "digits")
    assert "30 images, expected calibration error 7.0%" in figure.get_suptitle()
    assert drawn(figure).ndim == 3


def test_importing_figures_does_not_import_matplotlib():
    code = "import sys, pipeline.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_home_that_cannot_be_written_is_no_reason_to_complain(tmp_path):
    """matplotlib would say so in two lines, in every worker of a search."""
    (tmp_path / "file").write_text("")
    nowhere = dict.fromkeys(("HOME", "MPLCONFIGDIR"), str(tmp_path / "file" / "folder"))
    code = "import pandas, pipeline.figures as f\n"
    code += "f.learning_curves(pandas.DataFrame(columns=['step', 'name', 'value']), 'none')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_names_in_any_script_are_drawn_without_a_warning(monkeypatch):
    def sheet(name):
        figure = figures.confusion_matrix(np.array([[3, 1], [0, 2]]), [name, "고양이"], "一")
        return drawn(figure)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sheet("猫")
        without = sheet("\u1d84")  # DejaVu has no such sign, STIX has
        monkeypatch.setattr(style, "CJK", ("No such font", "STIXGeneral"))
        monkeypatch.setattr(style, "_figure_type", style._figure_type.__wrapped__)
        assert (sheet("\u1d84") != without).any()


@pytest.mark.parametrize("n", [1, 8, 12])
def test_marks_of_many_methods_lie_within_the_axes_and_apart(n):
    nothing = {"grid": np.empty(0), "band": np.empty((3, 0))}
    ends = [np.nan] * 3
    series = [
        curves.Series(
            f"m{i}", i, [20, 50, 100], [0.3, 0.2, 0.1], ends, ends, [[0.3], [0.2], [0.1]], **nothing
        )
        for i in range(n)
    ]
    axes = curves.label_curve(series, 0.001, "t", "d", "y").axes[0]
    low, high = axes.get_xlim()
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in axes.lines])
    assert low < drawn.min() < drawn.max() < high
    assert len(set(drawn.round(6))) == 3 * n
