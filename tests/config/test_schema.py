"""What the schema says of a key is used, and a key that says nothing is on the safe side."""

import shutil

import pytest
from pydantic.fields import FieldInfo

from pipeline.config import layers as config
from pipeline.config import named, own_keys, schema
from pipeline.config.key import ALL, Decides, key, said_of
from pipeline.errors import UserError


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A copy of `configs/` that is read instead."""
    copy = shutil.copytree(named.CONFIGS, tmp_path / "configs")
    monkeypatch.setattr(named, "CONFIGS", copy)
    return copy


def test_a_key_that_says_nothing_decides_step_warm_up_and_training():
    silent = key("a meaning")
    assert isinstance(silent, FieldInfo)
    assert said_of(silent).decides == ALL
    assert not said_of(silent).free


def test_what_only_keeps_a_record_may_be_chosen_by_a_later_stage_and_is_not_computed():
    where = {"experiment", "run_name", "run_id", "register_as", "checkpoint_dir"}
    assert {*where, "checkpoint_every", "system_metrics"} == schema.RECORD
    assert all(schema.SAID[name].free for name in schema.RECORD)
    for what in (Decides.STEP, Decides.WARM_UP, Decides.TRAINING, Decides.SPLIT):
        assert not schema.RECORD & own_keys.deciding(config.load({}), what).keys()


def test_every_key_decides_something():
    for name in (*schema.SHARED, *own_keys.OWN):
        assert own_keys.said(name).decides, name


@pytest.mark.parametrize(
    ("method", "key", "value"),
    [
        ("ssgan", "temperature", "0"),
        ("ssgan", "warm_up_lr", "0"),
        ("ssgan", "warm_up_thickness", "1.5"),
        ("ssgan", "warm_up_crop", "0"),
        ("ssgan", "warm_up_colour", "1"),
        ("ssgan", "warm_up_rotation", "-1"),
        ("ssgan", "augment_crop", "0"),
        ("ssgan", "augment_colour", "1"),
        ("ssgan", "augment_cutout", "1.1"),
        ("ssgan", "augment_flip", "2"),
        ("ssgan", "augment_border", "white"),
        ("ssgan", "latent_size", "0"),
        ("ssgan", "generator_units", "[]"),
        ("ssgan", "generator_steps", "0"),
        ("ssgan", "generator_size", "7"),
        ("ssgan", "penalty_weight", "-1"),
        ("sgan", "generator_network", "nothing"),
        ("vat", "epsilon", "0"),
        ("vat", "xi", "-1"),
        ("fixmatch", "confidence_threshold", "2"),
        ("bad_gan", "adam_epsilon", "0"),
    ],
)
def test_a_key_has_a_type_and_a_range(method, key, value):
    with pytest.raises(UserError, match=rf"{key} = .* \(from --{key}\): .*; {key}: "):
        config.load({"method": method, key: value})


def test_numbers_as_yaml_writes_them_are_numbers(configs):
    """YAML 1.1 reads 1e-4, which has no point, as text."""
    vat = configs / "method" / "vat.yaml"
    vat.write_text(
        vat.read_text().replace("xi: 0.1", "xi: 1e-4\ngenerator_lr: 2e-3\ndecay_from: 5e-1")
    )
    values = config.load({"method": "vat", "dataset": "mnist"})
    assert (values.own["xi"], values.generator_lr, values.decay_from) == (1e-4, 0.002, 0.5)
    # A value that is out of range in a method's file is a mistake as well, of that file.
    vat.write_text(vat.read_text().replace("xi: 1e-4", "xi: 0"))
    with pytest.raises(UserError, match=r"xi = 0 \(from .*vat\.yaml, line \d+\)"):
        config.load({"method": "vat", "dataset": "mnist"})


def test_a_key_of_a_methods_file_that_nothing_declares_is_a_mistake(configs):
    (configs / "method" / "vat.yaml").write_text("epsilon: 1.5\nxi: 0.1\nnew_weight: 1.0\n")
    with pytest.raises(UserError, match=r"unknown key new_weight = 1\.0 \(from .*vat\.yaml"):
        config.load({"method": "vat"})
