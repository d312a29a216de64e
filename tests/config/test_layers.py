"""Every value comes from the right layer."""

import pytest

from pipeline.config import layers as config
from pipeline.config import named, step_images
from tests.config.common import ALL, DATASETS, FM, METHODS, mistake, read


def test_later_layers_win(file):
    default, dataset, method = config.defaults(), read("dataset", "digits"), read("method", FM)
    block = method.pop("datasets")["digits"]
    # Each layer gives a key another value than the one before it; else nothing is shown here.
    assert default["steps"] != dataset["steps"] != method["steps"] != block["steps"]

    plain = {"method": "supervised"}
    assert config.load(plain | {"dataset": "mnist"}).steps == default["steps"]
    assert config.load(plain | {"dataset": "digits"}).steps == dataset["steps"]
    assert config.load({"dataset": "fashion_mnist", "method": FM}).steps == method["steps"]
    flags = {"dataset": "digits", "method": FM}
    assert config.load(flags).steps == block["steps"]
    flags["config"] = file("steps: 7\nseed: 3\n")
    assert config.load(flags).steps == 7
    resolved = config.load(flags | {"steps": "8"})
    assert (resolved.steps, resolved.seed) == (8, 3)
    # The method wins over the data set also where it says nothing of that data set.
    assert resolved.augment_rotation == method["augment_rotation"] != dataset["augment_rotation"]


def test_the_kind_of_image_stands_between_the_default_and_the_data_set(file):
    default, photos = config.defaults(), read("kind", "photos")
    svhn, npz = read("dataset", "svhn"), read("dataset", "npz")["kinds"]["strokes"]
    assert default["augment_rotation"] != photos["augment_rotation"] != svhn["augment_rotation"]
    plain = config.load({"method": "supervised", "dataset": "svhn"})
    assert (plain.augment_rotation, plain.augment_crop) == (
        svhn["augment_rotation"],
        photos["augment_crop"],
    )
    assert not plain.augment_flip  # a digit's mirror image is none
    # Whatever layer names the kind; a data set's block for that kind goes with it.
    flags = {"method": "supervised", "dataset": "npz"}
    as_file = flags | {"config": file("kind: strokes\n")}
    base = config.load(flags | {"kind": "strokes"}).flat()
    for strokes in (
        config.load(as_file),
        config.load({}, base),
        config.load({}, {"seed": 1} | base),
    ):
        found = strokes.flat()
        assert npz == {key: found[key] for key in npz}
        assert (strokes.augment_border, strokes.augment_crop) == ("black", 1)
    unasked = config.load(flags).flat()
    assert photos == {key: unasked[key] for key in photos}
    # A method's values win over both: no augmentation, as published.
    bare = config.load({"method": FM, "dataset": "npz"})
    assert (bare.augment_crop, bare.augment_flip, bare.augment_colour) == (1, False, 0)
    assert mistake({"kind": "drawings"}).startswith("kind = 'drawings' (from --kind): input should")


OF_STROKES = [d for d in DATASETS if read("dataset", d)["kind"] == "strokes"]


@pytest.mark.parametrize("dataset", [*OF_STROKES, "npz", "folder"])
def test_strokes_are_not_seen_as_photographs(dataset):
    strokes = config.load({"dataset": dataset, "kind": "strokes"})
    assert not strokes.augment_flip
    assert (strokes.augment_crop, strokes.augment_colour, strokes.augment_cutout) == (1, 0, 0)
    assert (strokes.own["warm_up_crop"], strokes.own["warm_up_colour"]) == (1, 0)
    assert strokes.own["warm_up_rotation"] is None


def test_a_file_chooses_the_layers_below_it(file):
    chosen = config.load({"config": file("method: seed_gan\ndataset: mnist\n")})
    assert chosen == config.load({"method": "seed_gan", "dataset": "mnist"})
    assert chosen.own["units"] == read("method", "seed_gan")["units"]


def test_an_earlier_run_stands_between_the_method_and_the_file(file):
    said = {"steps": "11", "penalty_weight": "0.5", "warm_up_share": "0.1", "split_seed": "4"}
    base = config.load(said | {"generator_steps": "7", "augment_steps": "3"}).flat()
    assert config.load({}, base).flat() == base
    path = file("steps: 12\n")
    assert config.load({"config": path}, base).flat() == base | {"steps": 12}
    # Another method: what the split has decided carries over, the first method's values do not.
    other = config.load({"method": "supervised"}, base)
    assert other == config.load({"method": "supervised", "split_seed": "4"})


def test_settling_the_backbone_changes_nothing_of_where_a_run_is_kept():
    said = {"run_name": "mine", "experiment": "own", "register_as": "it", "system_metrics": "true"}
    plain = config.load({"dataset": "folder", **said})
    for name in ("efficientnet_lite0", "none"):
        settled = config.with_backbone(plain, name)
        assert settled == config.load({"dataset": "folder", "backbone": name, **said})
        assert (settled.run_name, settled.experiment) == ("mine", "own")


def test_default_yaml_holds_exactly_the_shared_keys():
    assert tuple(config.defaults()) == config.SHARED


def test_every_key_has_a_meaning_and_every_meaning_a_key():
    own = {key for name in METHODS for key in config.load({"method": name}).own}
    meanings = config.meanings(own)
    assert set(meanings) == {*config.SHARED, *config.OWN} == {*config.SHARED, *own}
    assert all(meanings.values())
    assert "temperature: of the warm-up's" in mistake({"temperature": "hot"})


@pytest.mark.parametrize("method", ["fixmatch", "ssgan", "supervised", "vat"])
def test_a_backbone_brings_its_own_values_and_keeps_what_was_said(method, file):
    said = {"method": method, "dataset": "folder", "labels_per_class": "7", "ema_decay": "0.9"}
    plain = config.load(said)
    chosen = config.with_backbone(plain, "efficientnet_lite0")
    assert chosen == config.load({**said, "backbone": "efficientnet_lite0"})
    assert (chosen.labels_per_class, chosen.ema_decay) == (7, 0.9)
    assert chosen.discriminator_lr < plain.discriminator_lr
    assert config.with_backbone(chosen, "auto") == plain
    assert config.load({"config": file(config.to_yaml(chosen))}) == chosen
    long = config.load({**said, "steps": "123"})
    assert config.with_backbone(long, "efficientnet_lite0").steps == 123
    few, many = (config.settled(chosen, n).steps for n in (300, 50_000))
    assert few <= many < config.settled(config.with_backbone(plain, "none"), 50_000).steps


@pytest.mark.parametrize(("method", "dataset"), ALL)
def test_every_combination_resolves_and_reads_back(method, dataset, file):
    resolved = config.load({"method": method, "dataset": dataset})
    assert config.load({"config": file(config.to_yaml(resolved))}) == resolved
    assert config.from_yaml(config.to_yaml(resolved)).keys().isdisjoint(config.RECORD)
    blocks = read("method", method).get("datasets", {})
    assert set(blocks) <= set(DATASETS)
    for kinds in (read("method", method), read("dataset", dataset)):
        found = set(kinds.get("kinds", {})) - {named.PRETRAINED}
        assert found <= {"strokes", "photos"} == set(named.names("kind"))


def test_what_was_typed_reads_back(file):
    flags = {"data_dir": "/a b/ü: #1", "generator_lr": "1e-5", "labels_per_class": "3"}
    flags |= {"dense_units": "[30, 20]", "generator_units": "[8]", "threads": "", "baseline": "no"}
    resolved = config.load(flags)
    assert (resolved.dense_units, resolved.own["generator_units"]) == ([30, 20], [8])
    assert (resolved.threads, resolved.baseline) == (None, False)
    assert config.load({"config": file(config.to_yaml(resolved))}) == resolved


@pytest.mark.parametrize("key", ["generator_lr", "penalty_weight"])
def test_a_number_in_scientific_notation_is_a_float(key, file):
    for flags in ({key: "1e-4"}, {"config": file(f"{key}: 1e-4\n")}):
        value = config.load(flags).flat()[key]
        assert isinstance(value, float)
        assert value == 1e-4


@pytest.mark.parametrize(("method", "dataset"), ALL)
def test_the_baseline_is_the_same_arm_without_the_method(method, dataset):
    arm = config.load({"method": method, "dataset": dataset, "steps": "77", "seed": "5"})
    baseline = step_images.baseline_of(arm, n_labelled=20)
    same = set(config.SHARED) - {"method"}
    assert {key: getattr(baseline, key) for key in same} == {key: getattr(arm, key) for key in same}
    assert (baseline.method, dict(baseline.own)) == ("supervised", {})


def test_the_baseline_sees_many_labels_often_enough():
    flags = {"steps": "100", "batch_size": "10", "unlabelled_batch_size": "40"}
    arm = config.load({**flags, "baseline_passes": "5"})
    sizes = {n: step_images.baseline_of(arm, n).batch_size for n in (20, 200, 401, 1000, 9999)}
    # Multiples of 10: whatever number of devices the other arm's batches divide among.
    assert sizes == {20: 10, 200: 10, 401: 30, 1000: 50, 9999: 50}


def test_the_highest_layer_says_which_labels_are_read(file):
    path = file("labels_per_class: 10\n")
    assert config.load({"config": path}).labels_per_class == 10
    over = config.load({"config": path, "label_frac": "0.5"})
    assert (over.labels_per_class, over.label_frac) == (None, 0.5)
    base = config.from_yaml(config.to_yaml(config.load({"labels_per_class": "3"})))
    assert config.load({}, base).labels_per_class == 3
    assert config.load({"label_frac": "0.5"}, base).labels_per_class is None


@pytest.mark.parametrize(
    "lines", ["labels_per_class: 3\nlabel_frac: 0.5", "split_file: a.parquet\nvalid_frac: 0.2"]
)
def test_two_answers_to_which_labels_are_read_are_one_too_many(lines, file):
    assert "line 2" in mistake({"config": file(lines)})
    flags = dict(line.split(": ") for line in lines.splitlines())
    assert all(f"--{key}" in mistake(flags) or key == "split_file" for key in flags)


def test_a_manifest_says_which_labels_validate_whichever_layer_names_it(file):
    manifest, share = file("split_file: a.parquet\n"), {"valid_frac": "0.2"}
    assert "--valid_frac" in mistake({"config": manifest, **share})
    assert config.load({"config": manifest, "valid_frac": "0"}).valid_frac == 0
    over = config.load({"config": file("valid_frac: 0.2\n"), "split_file": "a.parquet"})
    assert (str(over.split_file), over.valid_frac) == ("a.parquet", 0)


FOLDER = {"dataset": "folder", "data_dir": "x"}


@pytest.mark.parametrize(
    ("lines", "flags", "read"),
    [
        ("labels_per_class: 10", {"label_frac": "none"}, (None, None)),
        ("seed: 1", {"labels_per_class": "10", "label_frac": "none"}, (None, 10)),
        (
            "labels_per_class: 10",
            {"labels_per_class": "none", "label_frac": "none"},
            (None, None),
        ),
        ("split_file: m.parquet", {"split_file": "none"}, (None, None)),
        ("split_file: m.parquet", {"split_file": "none", "valid_frac": "0.2"}, (None, None)),
        ("split_file: m.parquet", {"label_frac": "none"}, (None, None)),
        ("labels_per_class: 10", {"split_file": "none"}, (None, 10)),
        ("label_frac: 0.5", {"labels_per_class": "none"}, (0.5, None)),
        ("labels_per_class: 10\nsplit_file: m.parquet", {"split_file": "none"}, (None, 10)),
        ("labels_per_class: 10\nlabel_frac: null", {}, (None, 10)),
    ],
)
def test_none_takes_back_what_a_lower_layer_says_of_the_labels(lines, flags, read, file):
    found = config.load({**FOLDER, "config": file(lines), **flags})
    assert (found.label_frac, found.labels_per_class, found.split_file) == (*read, None)


def test_what_is_not_asked_of_the_labels_is_as_in_the_recipe():
    assert config.load({**FOLDER, "labels_per_class": "10"}).label_frac is None
    assert config.load({"labels_per_class": "10"}).label_frac == config.defaults()["label_frac"]
    base = config.load({**FOLDER, "labels_per_class": "3"}).flat()
    again = config.load({"label_frac": "none"}, base)
    assert (again.label_frac, again.labels_per_class) == (None, None)


def test_an_arm_on_the_same_split_keeps_the_seed():
    base = config.from_yaml(config.to_yaml(config.load({"seed": "3", "baseline": "false"})))
    other = config.load({"method": "seed_gan"}, base)
    assert (other.seed, other.baseline, other.steps) == (3, False, 1500)


def test_the_kind_of_image_decides_what_its_data_set_does_not():
    mine = {"dataset": "npz", "data_dir": "mine.npz"}
    photos, strokes = config.load(mine), config.load(mine | {"kind": "strokes"})
    assert (photos.kind, photos.own["truncation"]) == ("photos", 1)
    assert (strokes.own["truncation"], strokes.own["warm_up_thickness"]) == (0.9, 0.7)
    assert photos.own["warm_up_thickness"] == 0
    # What the user says comes before, and what is changed is told by the kind's own values.
    assert config.load(mine | {"warm_up_thickness": "0.1"}).own["warm_up_thickness"] == 0.1
    assert config.changed(strokes).keys() == {"data_dir"}
    assert "kind = 'paintings'" in mistake({"kind": "paintings"})


def test_keys_that_a_method_has_no_more_are_left_out_of_an_earlier_run():
    now = config.from_yaml(config.to_yaml(config.load({"dataset": "mnist"})))
    then = {**now, "gan_weight": 1.0, "generator_network": "dense", "no_such_key": 3}
    assert config.still_known(then) == now
    assert config.load({}, config.still_known(then)) == config.load({"dataset": "mnist"})


@pytest.mark.parametrize("value", ["null", "None", ""])
def test_no_backbone_can_be_said_in_every_way(value):
    assert config.load({"dataset": "npz", "data_dir": "x", "backbone": value}).backbone == "none"


def test_what_was_given_stays_whatever_backbone_is_chosen():
    plain = config.load({"dataset": "folder", "data_dir": "x", "backbone": "none"})
    flags = {key: plain.flat()[key] for key in ("batch_size", "discriminator_lr", "ema_decay")}
    flags |= {key: plain.own[key] for key in ("warm_up_share", "confidence_threshold")}
    typed = {key: str(value) for key, value in flags.items()}
    asked = config.load({"dataset": "folder", "data_dir": "x", "backbone": "auto", **typed})
    chosen = config.with_backbone(asked, "efficientnet_lite0")
    found = config.settled(chosen, 1000).flat()
    assert {key: found[key] for key in flags} == flags
    free = config.with_backbone(
        config.load({"dataset": "folder", "data_dir": "x", "backbone": "auto"}),
        "efficientnet_lite0",
    )
    assert free.batch_size != flags["batch_size"]
