"""README.md and docs/ say what is true: commands run, flags exist, links lead somewhere."""

import os
import re
import shlex
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from mlflow.cli import cli

import experiments.__main__
import pipeline.__main__
from experiments import plan as plans
from experiments.curve import grid as grids
from pipeline.config import layers as configuration
from tests.docs.commands import (
    DOCUMENTS,
    NAMES,
    ROOT,
    Command,
    anchors,
    commands,
    inside,
    mentioned,
    owned,
)
from tests.docs.scene import Scene

README_WORDS = 900
AT_ONCE = min(2, os.cpu_count() or 1)
RUN = {path: [c for c in owned(path) if not c.reason] for path in DOCUMENTS}
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)


# ---------------------------------------------------------------- text


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


@every_document
def test_links_and_pictures_lead_somewhere(path):
    links = [token.attrs["href"] for token in inside(path, "link_open")]
    links += [token.attrs["src"] for token in inside(path, "image")]
    broken = []
    for link in links:
        place, _, anchor = unquote(str(link)).partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = (path.parent / place).resolve() if place else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_architecture_names_every_file():
    said = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    found = [path for room in ("pipeline", "experiments") for path in (ROOT / room).rglob("*.py")]
    plugins = [ROOT / "pipeline" / kind for kind in ("methods", "data")]  # `<name>.py` is said
    named = [
        path.name
        for path in found
        if path.name[:2] != "__" and (path.parent not in plugins or path.name[0] == "_")
    ]
    assert not [name for name in named if name not in said]


# ---------------------------------------------------------------- commands are known


@every_document
def test_every_command_is_run_or_said_why_not(path):
    unknown = [str(c) for c in commands(path) if not c.reason and c.small is None]
    assert not unknown, "say in tests/docs/commands.py how these are run, or why not"


@every_document
def test_flags_values_and_targets_exist(path):
    for command in [*commands(path), *mentioned(path)]:
        if command.language == "sh":
            for words in ours(command.text):
                check(words, command)


def ours(text: str) -> list[list[str]]:
    """The calls of our programs, of mlflow and of make in a line of a shell."""
    text = re.sub(r"<[^<>]+>|\$\w+|…", "1", text)
    calls = re.split(r"\s*(?:;|&&|\|)\s*", text)
    found = [
        re.match(r"(?:do |[A-Z_]+=\S+ )*((?:python -m|mlflow|make) .*)", call) for call in calls
    ]
    return [shlex.split(call[1]) for call in found if call]


def check(words: list[str], command: Command) -> None:
    """Parse a call as the program would, without running it."""
    match words:
        case ["python", "-m", "pipeline", *rest] if rest:
            check_run(*pipeline.__main__._parse(without_help(rest)))
        case ["python", "-m", "experiments", *rest] if rest:
            name, flags = experiments.__main__._parse(without_help(rest))
            if name == "search":
                plans.read({k: v for k, v in flags.items() if not v.endswith("mine.yaml")})
            if name == "curve":
                grids.read({k: v for k, v in flags.items() if not v.endswith("mine.yaml")})
        case ["python", "-m", module, *rest] if module.startswith("benchmarks"):
            file = ROOT / module.replace(".", "/")
            file = file / "__main__.py" if file.is_dir() else file.with_suffix(".py")
            known = set(re.findall(r'"(--\w+)"', file.read_text(encoding="utf-8")))
            assert {word for word in rest if word.startswith("--")} <= known, command
        case ["mlflow", *rest]:
            check_mlflow(rest, command)
        case ["make", *targets]:
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            named = [word for word in targets if "=" not in word]
            assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named), command


def without_help(words: list[str]) -> list[str]:
    """`--help` would print and exit."""
    return [word for word in words if word != "--help"]


def check_run(name: str, flags: dict[str, str]) -> None:
    """Read the configuration as the command does, but for what lies in a file or a run."""
    if name in pipeline.__main__.OF_A_MODEL:
        pipeline.__main__._refuse_unknown(name, flags)
        return
    elsewhere = ("config", "run_id", "resume")
    configuration.load({key: value for key, value in flags.items() if key not in elsewhere})
    assert ("run_id" in flags) == (name in ("train", "evaluate"))


def check_mlflow(words: list[str], command: Command) -> None:
    """Let mlflow's own command line parse the call; read what `-P` gives to ours."""
    found: click.Command = cli
    while isinstance(found, click.Group):
        found, words = found.commands[words[0]], words[1:]
    context = found.make_context("mlflow", list(words))
    if found.name == "run":
        flags = [f"--{pair}" for pair in context.params["param_list"] or ()]
        if context.params["entry_point"] == "search":
            plans.read(experiments.__main__._parse(["search", *flags])[1])
        elif context.params["entry_point"] == "curve":
            grids.read(experiments.__main__._parse(["curve", *flags])[1])
        else:
            command = context.params["entry_point"].replace("main", "run")
            check_run(*pipeline.__main__._parse([command, *flags]))


def test_a_command_that_nobody_knows_is_found(tmp_path):
    text = "```sh\nfrobnicate --hard\npython -m pipeline run \\\n  --seed 1   # twice\n```\n"
    document = tmp_path / "new.md"
    document.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.docs.commands.ROOT", tmp_path)
        unknown, known = commands(document)
    assert unknown.small is None
    assert not unknown.reason
    assert known.text == "python -m pipeline run --seed 1"
    assert known.small == "python -m pipeline run --steps 40 --seed 1"
    for wrong, said in {
        "--seeed 1": "did you mean seed",
        "--seed x": "seed = 'x'",
        "--method gan": "method = 'gan'",
    }.items():
        with pytest.raises(Exception, match=said):
            check(shlex.split(f"python -m pipeline run {wrong}"), known)


# ---------------------------------------------------------------- commands run


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """Every chosen document's commands, run in their order; two documents at a time."""
    chosen = [item.callspec.params["ran"] for item in request.session.items if on_paper(item)]

    def play(path: Path, folder: Path) -> int:
        scene = Scene(folder, path)
        for command in RUN[path]:
            scene.run(command)
        return len(RUN[path])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        played: dict[Path, Future[int]] = {
            path: pool.submit(play, path, tmp_path_factory.mktemp(path.stem)) for path in chosen
        }
        yield played
        pool.shutdown(cancel_futures=True)


def on_paper(item: pytest.Item) -> bool:
    """Whether a test is one of those below."""
    return "ran" in getattr(getattr(item, "callspec", None), "params", {})


@pytest.mark.docs
@pytest.mark.parametrize("ran", [p for p, c in RUN.items() if c], ids=lambda path: path.name)
def test_commands_run(outcomes, ran):
    assert outcomes[ran].result() > 0
