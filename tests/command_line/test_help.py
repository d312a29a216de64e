"""What --help tells: the values that a command would have."""

import re
from pathlib import Path

import pytest

from experiments.__main__ import main as experiments
from experiments.curve import grid
from pipeline.__main__ import main
from pipeline.config import layers as config
from pipeline.config import named


@pytest.fixture
def shown(capsys):
    """Runs a command with --help; returns the default that each flag shows, and the whole text."""

    def run(*argv, main=main):
        with pytest.raises(SystemExit) as ended:
            main([*argv, "--help"])
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        text = " ".join(out.split())
        flags = re.split(r" --(?=\w+ (?!\w+ --))", text)
        found = [re.fullmatch(r"(\w+) (.*) \(default: (.*?)\)(?: .*)?", flag) for flag in flags]
        return {match[1]: match[3] for match in found if match}, text

    return run


@pytest.mark.parametrize("dataset", named.names("dataset"))
@pytest.mark.parametrize("method", named.names("method"))
def test_help_shows_the_values_that_a_run_would_have(dataset, method, shown):
    values, text = shown("run", "--dataset", dataset, "--method", method)
    resolved = config.load({"dataset": dataset, "method": method}).flat()
    assert (values.pop("dataset"), values.pop("method")) == ("digits", "ssgan")
    assert set(values) == set(resolved) - {"dataset", "method", "run_id"}
    assert config.load({"dataset": dataset, "method": method, **values}).flat() == resolved
    assert f"are those of --dataset {dataset} --method {method}." in text
    assert (f"method {method} alone:" in text) == bool(set(resolved) - set(config.SHARED))


def test_help_heeds_a_file_and_outlives_a_mistake(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("own.yaml")
    file.write_text("method: vat\nsteps: 77\nxi: 0.5\n")
    values, text = shown("run", "--config", str(file), "--dataset", "mnist")
    assert [values[key] for key in ("method", "steps", "xi")] == ["vat", "77", "0.5"]
    assert f"--dataset mnist --method vat --config {file}." in text
    values, text = shown("run", "--dataset", "mnist", "--steps", "300")
    short = config.load({"dataset": "mnist", "steps": "300"})
    assert values["steps"] == "10670"
    assert values["warm_up_share"] == str(short.own["warm_up_share"])
    file.write_text("method: vat\nstepps: 77\n")
    for flags, says, steps in [
        (["--dataset", "mnits", "--method", "fixmatch"], "did you mean mnist?", "1000"),
        (["--dataset", "mnist", "--method", "ssgann"], "did you mean ssgan?", "10670"),
        (["--dataset", "mnist", "--config", str(file)], "line 2", "10670"),
        (["--dataset", "mnits", "--method", "ssgann"], "did you mean", "1560"),
        (["--steps", "many"], "steps = 'many'", "1560"),
    ]:
        values, text = shown("train", *flags)
        assert says in text.partition("Not allowed: ")[2]
        assert values["steps"] == steps


def test_help_of_a_search_shows_its_settings_and_what_it_searches(shown):
    values, text = shown("search", "--search", "mnist", main=experiments)
    assert values["dataset"] == "mnist"
    assert (values["steps"], values["valid_labels"], values["trials"]) == ("2670", "500", "30")
    assert values["label_frac"] == "searched from 0.00167 to 0.05, on a log scale"
    assert (values["search"], values["study"]) == ("pareto", "mnist-mnist")
    assert "--dataset mnist --method ssgan --search mnist." in text
    assert (
        shown("search", "--search", "mnist", "--steps", "9", main=experiments)[0]["steps"] == "2670"
    )
    values, text = shown("search", "--mode", "budget", "--method", "vat", main=experiments)
    assert (values["search"], values["mode"]) == ("budget", "pareto")
    assert values["method"] == "searched among ssgan, supervised"
    assert values["xi"] == str(config.load({"method": "vat"}).own["xi"])
    assert "no such file" in shown("search", "--search", "nope", main=experiments)[1]


@pytest.mark.parametrize(
    ("dataset", "steps"), [("digits", "1560"), ("mnist", "10670"), ("folder", "0"), ("npz", "0")]
)
def test_help_of_a_curve_shows_the_steps_of_its_data_set(dataset, steps, shown):
    flags = ["--dataset", dataset]
    for more in ([], ["--steps", "9"]):
        values, text = shown("curve", *flags, *more, main=experiments)
        assert (values["dataset"], values["steps"]) == ("digits", steps)
        assert f"are those of --dataset {dataset} --method ssgan" in text
    values, _ = shown("curve", *flags, "--curve", "quick", main=experiments)
    quick = grid.read({"dataset": dataset, "curve": "quick"})
    assert values["steps"] == str(quick.config(quick.settings.methods[-1]).flat()["steps"])
