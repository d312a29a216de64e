"""Every value comes from the right layer, and every bad one is told in one line with its source."""

import itertools

import pytest
import yaml

from pipeline.config import layers as config
from pipeline.config import length, named
from pipeline.errors import UserError

METHODS, DATASETS = named.names("method"), named.names("dataset")
ALL = list(itertools.product(METHODS, DATASETS))
FM = "feature_matching"
MANY = 10**6  # images: as long as a method is made for


@pytest.fixture
def file(tmp_path):
    """Writes text as a config file; returns its path as a flag's value."""

    def write(text):
        path = tmp_path / "own.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def read(kind, name):
    return yaml.safe_load((named.CONFIGS / kind / f"{name}.yaml").read_text()) or {}


def mistake(flags):
    """The one line that the flags give."""
    with pytest.raises(UserError) as caught:
        config.load(flags)
    line = str(caught.value)
    assert "\n" not in line
    return line


# ---------------------------------------------------------------- layers


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


@pytest.mark.parametrize("dataset", DATASETS)
def test_strokes_are_not_seen_as_photographs(dataset):
    strokes = config.load({"dataset": dataset, "kind": "strokes"})
    if read("dataset", dataset)["kind"] == "strokes" or dataset in ("npz", "folder"):
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
    baseline = config.baseline_of(arm, n_labelled=20)
    same = set(config.SHARED) - {"method"}
    assert {key: getattr(baseline, key) for key in same} == {key: getattr(arm, key) for key in same}
    assert (baseline.method, dict(baseline.own)) == ("supervised", {})


def test_the_baseline_sees_many_labels_often_enough():
    flags = {"steps": "100", "batch_size": "10", "unlabelled_batch_size": "40"}
    arm = config.load({**flags, "baseline_passes": "5"})
    sizes = {n: config.baseline_of(arm, n).batch_size for n in (20, 200, 401, 1000, 9999)}
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


def test_an_arm_on_the_same_split_keeps_the_seed():
    base = config.from_yaml(config.to_yaml(config.load({"seed": "3", "baseline": "false"})))
    other = config.load({"method": "seed_gan"}, base)
    assert (other.seed, other.baseline, other.steps) == (3, False, 1500)


# ---------------------------------------------------------------- runs shorter than the recipe


@pytest.mark.parametrize(("method", "dataset"), ALL)
def test_a_recipe_is_as_it_stands_at_its_own_length_and_beyond(method, dataset):
    recipe = read("method", method)
    kind = read("dataset", dataset)["kind"]
    recipe |= recipe.pop("kinds", {}).get(kind, {}) | recipe.pop("datasets", {}).get(dataset, {})
    plain = config.settled(config.load({"method": method, "dataset": dataset}), MANY)
    longer = config.load({"method": method, "dataset": dataset, "steps": str(2 * plain.steps)})
    for resolved in (plain, longer):
        assert dict(resolved.own) == {key: recipe[key] for key in resolved.own}
        assert config.short(resolved, MANY) == ""


def warm_up(base=None, **flags):
    return config.load({key: str(value) for key, value in flags.items()}, base).own["warm_up_share"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_shorter_run_has_a_smaller_share_of_warm_up_and_yet_more_of_both(dataset):
    own = config.settled(config.load({"dataset": dataset}), MANY).steps
    lengths = [min(steps, own * steps // 1000) for steps in (100, 300, 700, 1000)]
    shares = [warm_up(dataset=dataset, steps=steps) for steps in lengths]
    assert shares == sorted(set(shares))
    early = [share * steps for share, steps in zip(shares, lengths, strict=True)]
    late = [steps - taken for steps, taken in zip(lengths, early, strict=True)]
    assert early == sorted(early)
    assert late == sorted(late)


def test_a_share_that_somebody_has_said_is_kept_at_every_length(file):
    assert warm_up(steps=100, warm_up_share=0.2) == 0.2
    assert warm_up(config=file("warm_up_share: 0.2\nsteps: 100\n")) == 0.2
    base = config.from_yaml(config.to_yaml(config.load({"warm_up_share": "0.5"})))
    assert warm_up(base, steps=100) == 0.5
    assert config.load({"steps": "100"}).warmup_steps < config.load({}).warmup_steps == 50
    assert config.load({"steps": "100", "warmup_steps": "40"}).warmup_steps == 40


def test_a_run_that_continues_has_the_share_of_its_own_length():
    for steps in (100, 1000):
        first = config.load({"steps": str(steps)})
        base = config.from_yaml(config.to_yaml(first))
        assert config.load({}, base) == first
        assert warm_up(base, steps=1000) == warm_up(steps=1000)
        assert warm_up(base, steps=300) == warm_up(steps=300)


@pytest.mark.parametrize(
    ("flags", "says", "instead"),
    [
        (
            {"dataset": "mnist", "steps": "300"},
            "2.8% of the 10,670 that ssgan on mnist",
            "--dataset",
        ),
        ({"steps": "100"}, "6.4% of the 1,560 that ssgan on digits", "take --method supervised"),
        ({"steps": "100", "method": "vat"}, "of the 1,000 that vat", "take --method supervised"),
        ({"steps": "9", "method": "supervised"}, "supervised on digits", "leave --steps out"),
        ({"steps": "999", "method": FM}, "of the 4,000 that feature_matching", "--method"),
        ({"dataset": "mnist", "steps": "2670"}, "", ""),
        ({"steps": "390"}, "", ""),
    ],
)
def test_far_too_few_steps_are_warned_of_in_one_line(flags, says, instead):
    line = config.short(config.load(flags), 60_000)
    assert bool(line) == bool(says)
    assert says in line
    assert instead in line
    assert "\n" not in line


# ---------------------------------------------------------------- steps from the number of images


def chosen(n_images, **flags):
    """The number that `steps: 0` becomes."""
    return config.settled(config.load({"dataset": "folder", **flags}), n_images).steps


def test_few_images_get_few_steps_and_many_the_whole_length():
    photos, strokes = read("method", "ssgan")["kinds"]["photos"], read("method", "ssgan")
    whole = {"photos": photos["steps"], "strokes": strokes["steps"]}
    for kind, size in length.FULL_SIZE.items():
        assert chosen(size, kind=kind) == chosen(10 * size, kind=kind) == whole[kind]
        assert chosen(size // 4, kind=kind) == pytest.approx(whole[kind] / 2, abs=5)
        assert chosen(size // 25, kind=kind) == pytest.approx(whole[kind] / 5, abs=5)
        found = [chosen(n, kind=kind) for n in range(20, size, 997)]
        assert found == sorted(found)
        assert chosen(1, kind=kind) == length.LEAST
    assert length.chosen(150, "photos", 50_000) == length.chosen(150, "photos", 5) == 150


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", ["folder", "npz"])
def test_data_of_any_size_leave_the_number_to_the_images(method, dataset):
    resolved = config.load({"method": method, "dataset": dataset})
    assert resolved.steps == 0
    few, many = (config.settled(resolved, n) for n in (360, MANY))
    assert 200 <= few.steps < many.steps
    # As if it had been typed: shares that follow the length, parameters, what is read back.
    typed = config.load({"method": method, "dataset": dataset, "steps": str(few.steps)})
    assert few == typed
    assert config.changed(few) == {}
    assert config.settled(few, MANY) == few
    assert config.from_yaml(config.to_yaml(few))["steps"] == few.steps


def test_published_data_have_a_number_and_a_typed_one_stands():
    for dataset in set(DATASETS) - {"folder", "npz"}:
        resolved = config.load({"dataset": dataset})
        assert config.settled(resolved, 7) == resolved
        assert resolved.steps > 0
    assert chosen(360, steps="9000") == 9000
    assert chosen(360, steps="1") == 1
    assert config.settled(config.load({"dataset": "mnist", "steps": "0"}), 60_000).steps == 10670
    assert "whole number ≥ 0" in mistake({"steps": "-1"})


def test_what_was_said_of_a_length_that_nobody_knew_stands(file):
    flags = {"dataset": "folder"}
    recipe = read("method", "ssgan")["warm_up_share"]
    assert config.settled(config.load(flags), 360).own["warm_up_share"] < recipe / 2
    for said in (recipe, 0.3):  # the recipe's own value too
        resolved = config.load({**flags, "warm_up_share": str(said)})
        assert config.settled(resolved, 360).own["warm_up_share"] == said
    path = file(config.to_yaml(config.load(flags)))
    assert config.settled(config.load({"config": path}), 360) == config.load(
        {**flags, "steps": str(chosen(360))}
    )


def test_a_stage_that_continues_keeps_the_number_and_another_method_finds_its_own():
    first = config.settled(config.load({"dataset": "folder"}), 2000)
    base = config.from_yaml(config.to_yaml(first))
    assert config.load({}, base) == first
    other = config.load({"method": "feature_matching"}, base)
    assert other.steps == 0
    assert config.settled(other, 2000).steps == chosen(2000, method="feature_matching")
    again = config.load({"steps": "0"}, base)
    assert config.settled(again, 50) == config.settled(config.load({"dataset": "folder"}), 50)


def test_far_too_few_steps_are_those_that_so_many_images_would_not_get():
    typed = config.load({"dataset": "folder", "steps": "80"})
    assert config.short(typed, 360) != ""
    assert f"of the {chosen(2000):,} that ssgan on folder" in config.short(typed, 2000)
    assert config.short(config.load({"dataset": "folder", "steps": "180"}), 360) == ""
    assert config.short(config.load({"dataset": "folder"}), 3) == ""


# ---------------------------------------------------------------- bad values


@pytest.mark.parametrize("value", ["0", "-0.1", "1.5", "abc", "nan", "inf"])
def test_bad_label_frac_as_a_flag_and_in_a_file(value, file):
    line = mistake({"label_frac": value})
    assert line.startswith(f"label_frac = '{value}' (from --label_frac): input should be ")
    assert "in (0, 1]" in line
    number = {"nan": ".nan", "inf": ".inf"}.get(value, value)
    path = file(f"# mine\nlabel_frac: {number}\n")
    line = mistake({"config": path})
    assert f"(from {path}, line 2)" in line
    assert line.startswith("label_frac = ")
    assert value in line


WRONG = [
    # key and value as in YAML, what the line must say
    ("steps: 2.5", "steps = 2.5", "integer"),
    ("steps: many", "steps = 'many'", "integer"),
    ("steps: {a: 1}", "steps = {'a': 1}", "integer"),
    ("steps:", "steps = None", "integer"),
    ("steps: yes", "steps = True", "number"),  # Python would count it as 1
    ("label_frac: yes", "label_frac = True", "number"),  # and this as all labels
    ("label_frac: {of: 1}", "label_frac = {'of': 1}", "number"),
    ("label_frac: [0.1]", "label_frac = [0.1]", "number"),
    ("baseline: maybe", "baseline = 'maybe'", "true or false"),
    ("dense_units: 500", "dense_units = 500", "list"),
    ("dense_units: []", "dense_units = []", "at least 1 item"),
    ("dense_units: [500, x]", "dense_units = [500, 'x']", "integer"),
    ("decay: cos", "decay = 'cos'", "'cosine' or 'linear'"),
    ("seed: -1", "seed = -1", "greater than or equal to 0"),
    ("ema_decay: 1.0", "ema_decay = 1.0", "in [0, 1)"),
    ("data_dir: [a]", "data_dir = ['a']", "folder"),
    ("run_name: 2026-01-01", "run_name = datetime.date(2026, 1, 1)", "string"),
    # the default method's own keys
    ("penalty_weight: -1", "penalty_weight = -1", "greater than or equal to 0"),
    ("penalty_weight: true", "penalty_weight = True", "number"),
    ("penalty_weight: .nan", "penalty_weight = nan", "finite"),
    ("latent_size: 0", "latent_size = 0", "greater than or equal to 1"),
    ("latent_size: 1.5", "latent_size = 1.5", "integer"),
    ("generator_units: [8, 0]", "generator_units = [8, 0]", "greater than or equal to 1"),
    ("adam_epsilon: 0\nmethod: sgan", "adam_epsilon = 0", "greater than 0"),
    # names
    ("dataset: mnsit", "dataset = 'mnsit'", "did you mean mnist?; known: " + ", ".join(DATASETS)),
    ("dataset: [mnist]", "dataset = ['mnist']", "known: " + ", ".join(DATASETS)),
    ("method: gann", "method = 'gann'", "known: " + ", ".join(METHODS)),
    ("method: ../dataset/mnist", "method = '../dataset/mnist'", "known: " + ", ".join(METHODS)),
    # keys
    ("label_farc: 0.2", "unknown key label_farc = 0.2", "did you mean label_frac?"),
    ("own: {a: 1}", "unknown key own = {'a': 1}", "configs/default.yaml"),
    ("config: a.yaml", "unknown key config = 'a.yaml'", "configs/default.yaml"),
    ("units: [3]", "unknown key units = [3]", "a key of method seed_gan, not of ssgan"),
    ("2: 3", "unknown key 2 = 3", "configs/default.yaml"),
]


@pytest.mark.parametrize(("text", "starts", "says"), WRONG, ids=[text for text, *_ in WRONG])
def test_bad_line_of_a_file(text, starts, says, file):
    path = file(f"seed: 1\n{text}\n" if not text.startswith("seed") else f"steps: 1\n{text}\n")
    line = mistake({"config": path})
    assert line.startswith(f"{starts} (from {path}, line 2)")
    assert says in line


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("steps", "2.5", "integer"),
        ("dense_units", "500", "list"),
        ("dense_units", "[500", "list"),
        ("generator_units", "[a: b: c]", "list"),
        ("baseline", "maybe", "true or false"),
        ("generator", "maybe", "true or false"),
        ("dataset", "digit", "did you mean digits?"),
        ("penalty_weight", "a lot", "number"),
        ("label-frac", "0.2", "did you mean label_frac?"),
        ("unsupervised_weight", "2", "a key of method bad_gan, feature_matching, sgan, not of"),
    ],
)
def test_bad_flag(key, value, says):
    line = mistake({key: value})
    assert f"{key} = {value!r} (from --{key})" in line
    assert says in line


# ---------------------------------------------------------------- bad files


# Nine lists of nine of the one before: 387 million values from 329 bytes.
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(9 * [f'*{before}'])}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\nsteps: [1\n", ", line 3: not valid YAML"),
        ("seed: 1\n\tsteps: 1\n", ", line 2: not valid YAML"),
        ("seed: 1\nsteps: !!python/name:os.system\n", ", line 2: not valid YAML"),
        ("seed: 1\n---\nseed: 2\n", ", line 2: not valid YAML"),
        ("seed: 1\nsteps: 2\nseed: 3\n", ", line 3: seed stands there twice (first in line 1)"),
        ("- seed\n- 1\n", ": must hold lines `key: value`"),
        ("seed 1\n", ": must hold lines `key: value`"),
        (b"\xff\xfe\x00seed: 1", ": cannot be read (not UTF-8 text)"),
        ("se\x00ed: 1", ": not valid YAML"),
        (LAUGHS, ", line 1: not valid YAML (anchors and aliases"),
        ("seed: 1\nsteps: *more\n", ", line 2: not valid YAML (anchors and aliases"),
        ("units: " + 3000 * "[" + 3000 * "]", ", line 1: not valid YAML (lists nested deeper"),
        ("seed: 1\n" + 20_000 * "# more\n", ": not valid YAML (longer than 100,000 characters"),
        ("steps: " + 9000 * "9", ": not valid YAML"),
    ],
)
def test_bad_file(text, says, file):
    path = file(text)
    assert f"config file {path}{says}" in mistake({"config": path})


def test_missing_or_unreadable_file(tmp_path):
    missing = tmp_path / "none.yaml"
    assert f"{missing}: cannot be read (No such file" in mistake({"config": str(missing)})
    assert f"{tmp_path}: cannot be read (Is a directory)" in mistake({"config": str(tmp_path)})


def test_an_empty_file_changes_nothing(file):
    assert config.load({"config": file("# nothing yet\n")}) == config.load({})


def test_the_kind_of_image_decides_what_its_data_set_does_not():
    mine = {"dataset": "npz", "data_dir": "mine.npz"}
    photos, strokes = config.load(mine), config.load(mine | {"kind": "strokes"})
    assert (photos.kind, photos.own["penalty_weight"]) == ("photos", 0.5)
    assert (strokes.own["penalty_weight"], strokes.own["warm_up_thickness"]) == (1, 0.7)
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


@pytest.mark.parametrize(
    "text", ["", "- method\n", "hello", "1: 2\n", "seed: 1\n", LAUGHS, "method: [", "\x00"]
)
def test_another_run_s_configuration_may_hold_anything(text):
    with pytest.raises(UserError, match="not what ssgan writes"):
        config.from_yaml(text)
