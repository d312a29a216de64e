"""A search space is read and checked before anything is trained."""

from pathlib import Path

import pytest

from experiments import plan, trial
from experiments.space import Choices, Range
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import UserError
from tests.data.pictures import write_classes

SPACE = """\
mode: pareto
valid_labels: 50
label_frac: {low: 0.02, high: 0.2, log: true}
discriminator_lr: {low: 1.0e-3, high: 1.0e-2}
"""


NO_FOLDERS = ["../../x", "/tmp/abs", "..", ".", "a/../b", "a//b", "a/", '"a\\0b"']
NO_FOLDERS += ["journal.log", "journal.log.lock", 300 * "a", f"a/{70 * '猫'}"]

TYPED = {"batch_size": "32"}


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_file_gives_settings_values_and_distributions(tmp_path):
    text = SPACE + "steps: {low: 100, high: 300, step: 100}\nnetwork: {choices: [conv, dense]}\n"
    found = plan.read({"search": written(tmp_path, text), "trials": "7", "seed": "4"})
    assert (found.study, found.settings.trials, found.label_key) == ("digits-mine", 7, "label_frac")
    assert found.space["label_frac"] == Range(low=0.02, high=0.2, log=True)
    assert found.space["steps"].ends == [100, 300]
    assert found.space["network"] == Choices(choices=["conv", "dense"])
    config = found.config({"label_frac": 0.1, "steps": 200})
    assert (config.label_frac, config.steps, config.valid_labels, config.seed) == (0.1, 200, 50, 4)
    assert config.baseline is False


def test_a_flag_holds_what_the_file_searches(tmp_path):
    found = plan.read({"search": written(tmp_path, SPACE), "discriminator_lr": "0.005"})
    assert set(found.space) == {"label_frac"}
    assert found.config({"label_frac": 0.1}).discriminator_lr == 0.005


@pytest.mark.parametrize("name", plan.names())
def test_the_searches_that_come_with_it_are_sound(name):
    found = plan.read({"search": name})
    assert found.settings.mode in ("pareto", "budget")
    assert {"discriminator_lr", "generator_lr"} <= set(found.space)
    assert found.label_key in found.space


def test_budget_compares_every_method_at_every_label_count():
    cells = plan.read({"mode": "budget", "study": "s"}).cells()
    assert [cell.name for cell in cells][:3] == [
        "s/ssgan/label_frac=0.02",
        "s/supervised/label_frac=0.02",
        "s/ssgan/label_frac=0.05",
    ]
    assert cells[0].given == {"label_frac": 0.02, "method": "ssgan"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo: 3\n", ["unknown key foo", "line 5"]),
        ("steps: {low: 300, high: 100}\n", ["steps", "line 5", "must lie below"]),
        ("steps: {low: -1, high: 100}\n", ["steps = -1", "line 5"]),
        ("generator_lr: {low: 0, high: 1, log: true}\n", ["line 5", "generator_lr = 0"]),
        ("input_noise: {low: 0, high: 1, log: true}\n", ["line 5", "log needs low above 0"]),
        ("generator_lr: {lo: 0.1, high: 1}\n", ["line 5", "low"]),
        ("generator_lr: {low: a, high: 1}\n", ["line 5", "generator_lr = 'a'"]),
        ("method: {choices: [ssgan, nope]}\n", ["'nope'", "line 5", "no such method"]),
        ("steps: {low: 500.5, high: 2000}\n", ["line 5", "steps = 500.5"]),
        ("steps: {low: 500, high: 2000.5}\n", ["line 5", "whole numbers"]),
        ("steps: {low: 500, high: 2000, step: 0.5}\n", ["line 5", "whole numbers"]),
        ("method: {choices: []}\n", ["line 5", "choices"]),
        ("method: {choices: ssgan}\n", ["line 5", "choices"]),
        ("method: {choices: {a: 1}}\n", ["line 5", "choices"]),
        ("generator_lr: {choices: [0.1, 0.1]}\n", ["line 5", "0.1", "more than once"]),
        ("study: it's\n", ["line 5", "without quotes"]),
        *((f"study: {name}\n", ["line 5", "its folder in studies/"]) for name in NO_FOLDERS),
        ("trials: 0\n", ["trials = 0", "line 5"]),
        ("run_id: abc\n", ["run_id", "line 5", "leave it out"]),
        ("experiment: mine\n", ["experiment", "line 5", "leave it out"]),
        ("seed: {low: 0, high: 9}\n", ["seed", "line 5", "cannot be searched"]),
        ("dataset: {choices: [digits, mnist]}\n", ["dataset", "line 5", "cannot be searched"]),
        ("split_seed: {low: 0, high: 9}\n", ["split_seed", "line 5", "same validation images"]),
        ("stratified: {choices: [true, false]}\n", ["stratified", "line 5", "same validation"]),
        ("valid_frac: {low: 0.1, high: 0.5}\n", ["valid_frac", "line 5", "same validation"]),
        ("labels_per_class: {low: 2, high: 9}\n", ["label_frac"]),
        ("width: {low: 16, high: 64}\n", ["width = 17", "line 5", "multiple of 4"]),
        ("width: {low: 16, high: 64, step: 6}\n", ["width = 22", "line 5", "multiple of 4"]),
        ("generator_lr: {choices: [0.001, 2024-01-01]}\n", ["line 5", "choices", "numbers, texts"]),
        ("dense_units: {choices: [[8], [2024-01-01]]}\n", ["line 5", "choices", "numbers, texts"]),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, said):
    with pytest.raises(UserError) as caught:
        plan.read({"search": written(tmp_path, SPACE + text)})
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert "\n" not in message


@pytest.mark.parametrize("mode", ["pareto", "budget"])
@pytest.mark.parametrize("choices", ["[0.1, none]", "[0.1, null]", "['0.1', 0.2]", "['0.1']"])
def test_label_counts_are_numbers(tmp_path, mode, choices):
    text = SPACE.replace("{low: 0.02, high: 0.2, log: true}", f"{{choices: {choices}}}")
    with pytest.raises(UserError, match=r"^label_frac = .*line 3\).*give numbers"):
        plan.read({"search": written(tmp_path, text.replace("pareto", mode))})


def test_trials_of_several_label_counts_are_judged_on_the_same_images(tmp_path):
    share = SPACE.replace("valid_labels: 50", "valid_frac: 0.2")
    with pytest.raises(UserError, match=r"^valid_frac = 0\.2 \(from .*line 2\).*valid_labels"):
        plan.read({"search": written(tmp_path, share)})
    counts = share.replace("{low: 0.02, high: 0.2, log: true}", "{choices: [0.1, 0.2]}")
    with pytest.raises(UserError, match="valid_frac"):
        plan.read({"search": written(tmp_path, counts)})
    # Where trials of one count are compared alone, a share of it is as many in each.
    for alone in (counts.replace("pareto", "budget"), counts.replace("[0.1, 0.2]", "[0.2]")):
        found = plan.read({"search": written(tmp_path, alone)})
        assert found.config(found.firsts).valid_frac == 0.2
    searched = SPACE.replace("valid_labels: 50", "valid_labels: {low: 10, high: 100}")
    with pytest.raises(UserError, match="cannot be searched"):
        plan.read({"search": written(tmp_path, searched)})


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("image_size: {choices: [16, 32]}", True),
        ("fit: {choices: [crop, pad]}", True),
        ("test_frac: {low: 0.1, high: 0.5}", True),
        ("strict: {choices: [false, true]}", True),
        ("backbone: {choices: [none, efficientnet_lite0]}", True),
        ("backbone: {choices: [none, auto]}", False),
        ("network: {choices: [conv, resnet]}", False),
    ],
)
def test_all_trials_are_on_the_same_images(tmp_path, text, refused):
    found = plan.read({"search": written(tmp_path, f"{SPACE}dataset: folder\n{text}\n")})
    if not refused:
        trial.check_pictures(found.ends())
        return
    key = text.partition(":")[0]
    with pytest.raises(UserError, match=rf"^{key} = .*line 6\): gives other images"):
        trial.check_pictures(found.ends())
    if key == "backbone":  # images that are no files keep their size
        trial.check_pictures(
            plan.read(
                {"search": written(tmp_path, f"{SPACE}{text}\n"), "dataset": "cifar10"}
            ).ends()
        )


def test_a_study_may_lie_in_a_folder_of_its_own(tmp_path):
    for name in ("mnist/first", "größe", "..a", "a.."):
        found = plan.read({"search": written(tmp_path, SPACE), "study": name})
        assert plan.folder(found.study) == Path("studies") / name


@pytest.mark.parametrize("stem", ["o'neil", 220 * "x", "a`b", "journal.log\n"])
def test_a_file_whose_name_names_no_study_is_told(tmp_path, stem):
    path = tmp_path / f"{stem}.yaml"
    path.write_text(SPACE)
    with pytest.raises(UserError, match=r"^study = [^\n]*give another one with --study[^\n]*$"):
        plan.read({"search": str(path)})
    assert plan.read({"search": str(path), "study": "mine"}).study == "mine"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"search": "nowhere"}, "known: budget"),
        ({"workers": "many"}, "workers = 'many' (from --workers)"),
        (
            {"labels_per_class": "5"},
            "labels_per_class = '5' (from --labels_per_class): label_frac is",
        ),
        ({"label_frac": "0.1"}, "searches neither label_frac nor labels_per_class"),
        ({"valid_labels": "none"}, "no validation labels to select by"),
        ({"mode": "budget", "search": "pareto"}, "give {choices"),
    ],
)
def test_a_search_that_cannot_answer_is_refused(flags, said):
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        plan.read(flags)
    assert said in str(caught.value)


BUDGET = """\
mode: budget
valid_labels: 50
label_frac: {choices: [0.05, 0.1]}
method: {choices: [ssgan, supervised]}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: {low: 100, high: 300}\n", ["steps", "line 5", "equal_time"]),
        ("steps: {choices: [100, 300]}\n", ["steps", "line 5", "equal_time"]),
        ("batch_size: {low: 8, high: 64}\n", ["batch_size", "line 5", "{choices: […]}"]),
        ("augment_cutout: {low: 0, high: 0.4, step: 0.2}\n", ["augment_cutout", "line 5"]),
        (
            "batch_size: {choices: [8, 16, 32]}\nnetwork: {choices: [conv, dense]}\n"
            "precision: {choices: [float32, bfloat16]}\n",
            ["batch_size, network, precision", "24 combinations", "16"],
        ),
    ],
)
def test_with_equal_time_what_cannot_be_timed_is_refused_and_without_it_searched(
    tmp_path, text, said
):
    path = written(tmp_path, BUDGET + text)
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        plan.read({"search": path})
    assert all(part in str(caught.value) for part in said), caught.value
    without = plan.read({"search": path, "equal_time": "false"})
    assert without.to_time() == {}
    assert plan.read({"search": path, "method": "ssgan"}).to_time() == {}  # nothing to even out


def test_with_equal_time_every_combination_that_decides_the_speed_is_timed(tmp_path):
    rates = "generator_lr: {low: 0.001, high: 0.01}\n"
    found = plan.read({"search": written(tmp_path, BUDGET + rates)}).to_time()
    assert [*found] == ["ssgan", "supervised"]
    text = rates + "network: {choices: [conv, dense]}\nlayer_noise: {low: 0, high: 0.5}\n"
    found = plan.read({"search": written(tmp_path, BUDGET + text)}).to_time()
    pairs = [(values["method"], values["network"]) for values in found.values()]
    assert pairs == [(m, n) for m in ("ssgan", "supervised") for n in ("conv", "dense")]
    assert len(found) == 4
    assert {values["layer_noise"] for values in found.values()} == {0.5}
    # Beyond so many labels there is no warm-up, whose steps take another time.
    limited = BUDGET.replace("[ssgan, supervised]", "[ssgan, feature_matching]") + rates
    read = plan.read({"search": written(tmp_path, limited), "dataset": "cifar10"})
    by_labels = any(
        read.config({**read.firsts, "method": method}).own.get("warm_up_labels")
        for method in read.methods()
    )
    assert by_labels
    assert len(read.to_time()) == 4


def test_the_ends_of_a_range_with_a_step_are_values_that_a_trial_may_have():
    held = Range(low=0.05, high=0.32, step=0.1)
    assert held.ends == [0.05, 0.25]
    assert [held.on_grid(value) for value in (0, 0.14, 0.2, 1)] == [0.05, 0.15, 0.25, 0.25]
    assert [held.has(value) for value in (0.15, 0.2, 0.35, True)] == [True, False, False, False]
    whole = Range(low=500, high=1900, step=500, whole=True)
    assert whole.ends == [500, 1500]
    assert all(isinstance(end, int) for end in whole.ends)


def test_the_fingerprint_sees_the_space_but_not_how_it_is_run(tmp_path):
    path = written(tmp_path, SPACE)
    first = plan.read({"search": path}).fingerprint("data", 0)
    same = plan.read({"search": path, "trials": "9", "workers": "2"}).fingerprint("data", 0)
    other = plan.read({"search": path, "steps": "9"}).fingerprint("data", 0)
    assert first == same
    assert first != other
    on = {"search": path, "backbone": "efficientnet_lite0", "labelled_passes": "10"}
    typed, left = (plan.read(flags).fingerprint("data", 0) for flags in (on | TYPED, on))
    assert "shared_out: " in plan.difference(typed, left)  # a default that is typed is not changed
    base = tmp_path / "base.yaml"
    base.write_text("labels_per_class: 4\n")
    assert plan.read({"search": path, "config": str(base)}).label_key == "label_frac"
    assert plan.read({"search": path, "labels_per_class": "none"}).label_key == "label_frac"
    assert float(first["fixed"]["warm_up_share"]) >= 0  # a default, which an update may change
    assert first["fixed"].keys().isdisjoint({"label_frac", "threads", "seed", "data_dir"})


def test_a_study_of_data_of_any_size_settles_the_steps_of_each_method_once(tmp_path):
    text = SPACE.replace("pareto", "budget").replace(
        "{low: 0.02, high: 0.2, log: true}", "{choices: [0.1]}"
    )
    text += "dataset: folder\nmethod: {choices: [ssgan, feature_matching]}\n"
    read = plan.read({"search": written(tmp_path, text)})
    assert read.config(read.firsts).steps == 0
    settled = read.on(2000)
    for method in read.methods():
        typed = read.config({**read.firsts, "method": method, "steps": 0})
        config = settled.config({**read.firsts, "method": method})
        assert config == configuration.settled(typed, 2000)
        assert settled.fingerprint("d", 0)["fixed"][f"{method}.steps"] == str(config.steps)
    assert settled.fingerprint("d", 0) != read.on(3000).fingerprint("d", 0)
    assert settled.config({**read.firsts, "steps": 70}).steps == 70
    # With the space's own numbers nothing is left to settle.
    text += "steps: {low: 100, high: 300}\nequal_time: false\n"
    searched = plan.read({"search": written(tmp_path, text)})
    assert searched.on(2000).config(searched.firsts).steps == 100


def test_a_search_knows_that_it_leaves_the_backbone_unchosen(tmp_path):
    photos = {"search": written(tmp_path, SPACE), "dataset": "cifar10"}
    left = plan.read(photos)
    assert left.leaves_backbone
    assert left.config(left.firsts).backbone == "none"
    named = plan.read(photos | {"backbone": "efficientnet_lite0"})
    assert not named.leaves_backbone
    assert named.config(named.firsts).backbone == "efficientnet_lite0"
    assert not plan.read({"search": written(tmp_path, SPACE)}).leaves_backbone


def test_a_folder_with_few_labels_is_told_what_can_be_searched(tmp_path):
    write_classes(tmp_path / "pictures", ("labelled",), n=15)
    write_classes(tmp_path / "pictures", ("unlabelled",), n=60)
    flags = {"dataset": "folder", "data_dir": str(tmp_path / "pictures"), "backbone": "none"}
    dataset = data.of(plan.read(flags).config(plan.read(flags).firsts))

    def check(more):
        found = plan.read({**flags, **more}).on(len(dataset.train_images))
        trial.check_splits(found.splits(), dataset)

    for wrong in ({}, {"valid_labels": "10"}):
        with pytest.raises(UserError) as told:
            check(wrong)
        advice = "give labels_per_class: {choices: […]} and a small valid_labels; 24 labels are"
        assert advice in str(told.value)
        assert "12 of them of the smallest class" in str(told.value)
    file = tmp_path / "mine.yaml"
    file.write_text("valid_labels: 6\nlabels_per_class: {choices: [2, 9]}\n")
    check({"search": str(file)})


def test_the_values_of_a_run_hold_and_its_labels_give_way(tmp_path):
    """A run's config.yaml says everything: its split, its baseline and no validation, too."""
    file = tmp_path / "config.yaml"
    config = configuration.load({"discriminator_lr": "0.005", "label_frac": "0.3"})
    file.write_text(configuration.to_yaml(config))
    found = plan.read({"config": str(file)})
    assert set(found.space) == {"label_frac"}
    first = found.config(found.firsts)
    assert (first.discriminator_lr, first.valid_labels) == (0.005, 100)
    file.write_text("split_file: mine.parquet\n")
    with pytest.raises(UserError, match="a search decides split_file"):
        plan.read({"config": str(file)})
