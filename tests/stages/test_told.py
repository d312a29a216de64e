"""What is told of a split before a training."""

import dataclasses

import pytest

from pipeline import data
from pipeline.config import layers as config
from pipeline.stages.told import described, searched_in_vain, unheeded
from tests.data.pictures import content, put, write_classes
from tests.stages.test_split import N_TEST, make_labels, run


@pytest.mark.parametrize(
    ("sizes", "flags", "classes"),
    [
        ((40, 40, 40), {"labels_per_class": 12}, "12 of each of 3 classes; none of them"),
        (
            (40, 40, 40),
            {"label_frac": 0.3, "valid_frac": 0.25},
            "12–13 of each of 3 classes; 9 of",
        ),
        ((80, 30, 20), {"label_frac": 0.2}, "c0: 17, c1: 6, c2: 4; none of them"),
        (range(10, 150, 10), {"label_frac": 0.2}, "of 14 classes, from 2 (c0) to 29 (c13); none"),
    ],
)
def test_a_split_says_which_images_have_labels(sizes, flags, classes):
    labels = make_labels(tuple(sizes), n_unknown=3)
    drawn, n = run(labels, **flags), len(labels)
    text = described(drawn, labels, [f"c{i}" for i in range(len(sizes))], "mine")
    count, unread = drawn.n_labels, n - 3 - drawn.n_labels
    assert text.startswith(f"mine: {count} of {n:,} training images have a label (")
    assert classes in text
    assert text.endswith(
        f"for validation), {n - count:,} are used without ({unread:,} of these have one that is "
        f"not read); {N_TEST} test images"
    )


def test_images_that_a_manifest_leaves_out_are_told():
    labels = make_labels((40, 40), n_unknown=20)
    drawn = run(labels, labels_per_class=1)
    shorter = dataclasses.replace(drawn, unlabelled=drawn.unlabelled[:10])
    text = described(shorter, labels, ["a", "b"], "mine")
    assert text.startswith("mine: 2 of 100 training images have a label (1 of each")
    assert "10 are used without (" in text
    assert "); 88 stand in no part of split_file and are not used; " in text


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({}, []),
        ({"label_frac": "0.2", "split_seed": "3", "stratified": "false"}, []),
        ({"split_file": "m.parquet", "split_seed": "3"}, ["split_seed = 3", "split_file names"]),
        ({"split_file": "m.parquet", "split_seed": "0"}, []),
        ({"labels_per_class": "3", "stratified": "no"}, ["stratified = False", "labels_per_class"]),
        ({"labels_per_class": "3", "stratified": "no", "valid_labels": "9"}, []),
        ({"generator": "false", "augment_with": "images"}, ["augment_with = images", "generator"]),
        ({"generator": "false", "generator_steps": "9"}, ["generator_steps = 9", "generator ="]),
        ({"augment_steps": "9"}, ["augment_steps = 9", "augment_with = none"]),
        ({"augment_with": "samples", "augment_steps": "9"}, []),
        ({"generator": "false", "augment_with": "none"}, []),
        (
            {"backbone_weights": "/nope.pth"},
            ["backbone_weights = /nope.pth changes nothing: the training is on no backbone"],
        ),
        ({"backbone_weights": "/nope.pth", "backbone": "auto"}, []),
        ({"generator": "false", "truncation": "0.5"}, ["truncation = 0.5", "leaves it out"]),
        ({"width": "8", "network": "conv"}, ["width = 8", "network = conv has no such width"]),
        ({"width": "8", "network": "resnet"}, []),
        ({"width": "8", "backbone": "MobileNetV2"}, ["width = 8", "on MobileNetV2"]),
        ({"warm_up_share": "0", "temperature": "1"}, ["temperature = 1", "warm_up_share = 0"]),
        ({"backbone_weights": "/nope.pth", "backbone": "MobileNetV2"}, []),
    ],
)
def test_values_that_say_nothing_are_told(flags, told):
    sentences = unheeded(config.load(flags), data.load("digits", None))
    assert len(sentences) == bool(told)
    assert all(words in sentence for sentence in sentences for words in told)


def test_the_share_of_the_test_part_says_nothing_where_there_is_one(tmp_path):
    found = []
    for parts in (("",), ("train", "test")):
        folder = write_classes(tmp_path / parts[-1] / "mine", parts)
        given = {"dataset": "folder", "data_dir": str(folder), "test_frac": "0.3"}
        found.append(unheeded(config.load(given), data.load("folder", folder)))
    tenth = "every image has a label, so a tenth of them is read; label_frac=1 reads all"
    part = "test_frac = 0.3 changes nothing: the data have a test part"
    assert found == [[tenth], [part, tenth]]


def test_one_image_without_a_label_makes_all_others_be_read_and_that_is_told(tmp_path):
    write_classes(tmp_path, ("train", "test"), n=20)
    given = {"dataset": "folder", "data_dir": str(tmp_path)}
    (sentence,) = unheeded(config.load(given), data.load("folder", tmp_path))
    assert sentence == "every image has a label, so a tenth of them is read; label_frac=1 reads all"
    put(tmp_path, "unlabelled/1.png", content(99))
    dataset = data.load("folder", tmp_path)
    (sentence,) = unheeded(config.load(given), dataset)
    assert sentence.startswith("only 1 of 41 training images have no label")
    assert unheeded(config.load({**given, "label_frac": "none"}), dataset) == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({}, ["generator_lr is searched and decides no error: the generator comes after"]),
        ({"generator": "false"}, ["decides no error: generator = false leaves it out"]),
        ({"method": "supervised"}, ["decides no error: method supervised has no generator"]),
        ({"augment_with": "samples"}, []),
        ({"method": "seed_gan"}, []),
    ],
)
def test_a_key_that_is_searched_in_vain_is_told(flags, told):
    configs = [config.load({**flags, "label_frac": share}) for share in ("0.1", "0.2")]
    found = searched_in_vain(["label_frac", "discriminator_lr", "generator_lr"], configs)
    assert len(found) == len(told)
    assert all(words in sentence for words, sentence in zip(told, found, strict=True))


def test_a_key_that_decides_something_of_one_method_is_not_searched_in_vain():
    configs = [config.load({"method": method}) for method in ("supervised", "feature_matching")]
    assert searched_in_vain(["generator_lr"], configs) == []
