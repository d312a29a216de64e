"""Imports run down only, each library has its one importer, and TensorFlow waits for training."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pipeline", "experiments", "benchmarks", "tests")
# Who may import whom, from the ground up: a room names only rooms above it in this list.
# `contract` is methods/__init__.py, `methods` are the files beside it.
MAY_IMPORT = {
    "errors": "",
    "interrupts": "",
    "clock": "",
    "progress": "",
    "runtime": "errors",
    "provenance": "runtime",
    "summary": "",
    "figures": "",
    "measure": "progress",
    "schema": "",
    "length": "",
    "config": "errors schema length",
    "data": "errors progress",
    "devices": "",
    "contract": "config schema",
    "networks": "config schema contract devices",
    "training": "config schema errors progress runtime contract devices networks",
    "methods": "config schema contract devices networks training",
    "stages": "config schema errors progress data figures measure contract networks training "
    "runtime",
    "tracking": "config schema errors interrupts contract",
    "resume": "config schema errors data stages tracking",
    "arm": "clock interrupts progress runtime config schema data figures provenance resume stages "
    "tracking",
    "command_line": "config errors interrupts schema tracking",
    "flow": "arm clock config measure schema data progress resume summary stages tracking",
    "__main__": "command_line config errors progress summary flow tracking",
    "experiments.space": "config errors schema",
    "experiments.plan": "config errors schema experiments.space",
    "experiments.life": "",
    "experiments.trial": "arm clock data errors schema",
    "experiments.pace": "arm data schema stages training",
    "experiments.workers": "command_line errors interrupts experiments.life experiments.trial",
    "experiments.search": "config data errors interrupts flow progress schema tracking runtime "
    "experiments.plan experiments.space experiments.life experiments.trial experiments.pace "
    "experiments.workers",
    "experiments.report": "experiments.search",
    "experiments.__main__": "command_line config errors progress experiments.space "
    "experiments.plan "
    "experiments.search experiments.report",
}
ROOMS = {
    "pipeline.methods": "contract",
    "pipeline.training.devices": "devices",
    "pipeline.training.runtime": "runtime",
}
USE_TENSORFLOW = ("devices", "networks", "training", "methods")
ONLY_IMPORTER = {"mlflow": "pipeline.tracking", "yaml": "pipeline.config"}
ONLY_IMPORTER |= {"argparse": "pipeline.command_line", "optuna": "experiments.search"}
ONLY_IMPORTER |= {"ray": "experiments.workers"}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PRODUCT = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("experiments/**/*.py")]
FILES = {module_name(path): path for path in sorted(PRODUCT)}


def room(module):
    folder, name, *_ = [*module.split("."), "package"]
    inside = name if folder == "pipeline" or name == "package" else f"{folder}.{name}"
    return ROOMS.get(module) or inside


def imports(module, *, when_loaded=False):
    """What a module imports: anywhere, or only in what runs when it is loaded itself.

    Under TYPE_CHECKING nothing is imported: a contract may name the types that fill it.
    """
    found, waiting = set(), [ast.parse(FILES[module].read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import hides where it leads"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            waiting += node.orelse
        elif not (function and when_loaded):
            waiting += ast.iter_child_nodes(node)
    return found


def libraries(module, **options):
    return {name.partition(".")[0] for name in imports(module, **options)}


def test_the_table_runs_down_only():
    rooms = list(MAY_IMPORT)
    for index, names in enumerate(MAY_IMPORT.values()):
        assert set(names.split()) <= set(rooms[:index])


@pytest.mark.parametrize("module", FILES)
def test_imports_run_down_only(module):
    ours = {name for name in imports(module) if name.startswith(OURS)}
    if room(module) == "package":
        assert not ours
        return
    assert room(module) in MAY_IMPORT, "give the new room its place in MAY_IMPORT"
    allowed = {room(module), *MAY_IMPORT[room(module)].split()}
    # The package itself may be named to reach a module: `from pipeline import data`.
    assert {room(name) for name in ours - {"pipeline", "experiments"}} <= allowed
    assert all(name.startswith(("pipeline", "experiments")) for name in ours)


@pytest.mark.parametrize(("library", "importer"), ONLY_IMPORTER.items())
def test_a_library_has_one_importer(library, importer):
    users = {module for module in FILES if library in libraries(module)}
    assert users
    assert all(f"{module}.".startswith(f"{importer}.") for module in users), users


def test_only_networks_training_and_methods_load_tensorflow():
    loading = {m for m in FILES if {"tensorflow", "keras"} & libraries(m, when_loaded=True)}
    assert {room(module) for module in loading} == set(USE_TENSORFLOW)
    for module in FILES:
        if room(module) not in USE_TENSORFLOW:
            assert not loading & imports(module, when_loaded=True), module


def test_the_way_to_a_split_loads_no_tensorflow():
    free = [
        module
        for module in FILES
        if room(module) not in USE_TENSORFLOW and not module.endswith("__main__")
    ]
    script = (
        "import importlib, sys\n"
        "import pipeline.__main__, experiments.__main__\n"
        "slow = {'numpy', 'mlflow', 'optuna'} & set(sys.modules)\n"
        "assert not slow, 'the command line is slow to start'\n"
        f"for name in {free!r}: importlib.import_module(name)\n"
        "assert 'mlflow' in sys.modules and 'pipeline.flow' in sys.modules\n"
        "print(*sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_every_module_says_what_it_is():
    for module, path in FILES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), module
