"""Every bad value is told in one line with its source."""

import mlflow
import pytest

from pipeline.config import layers as config
from pipeline.errors import UserError
from tests.config.common import DATASETS, METHODS, mistake

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


@pytest.mark.parametrize(
    "name", ["a/b", "a:b", " ", "models:/mine/1", ".", "..", "..a", "a\n/b", 257 * "a"]
)
def test_a_name_that_the_registry_would_refuse_is_refused_before_the_training(name):
    line = mistake({"register_as": name})
    assert line.startswith("register_as = ")
    assert "without / and :" in line


def test_other_names_are_the_registry_s(store):
    for name in ("digits", "größe 2", ".a", 256 * "a"):
        assert config.load({"register_as": name}).register_as == name
        mlflow.MlflowClient().create_registered_model(name)


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


@pytest.mark.parametrize(
    "text", ["", "- method\n", "hello", "1: 2\n", "seed: 1\n", LAUGHS, "method: [", "\x00"]
)
def test_another_run_s_configuration_may_hold_anything(text):
    with pytest.raises(UserError, match="not what ssgan writes"):
        config.from_yaml(text)
