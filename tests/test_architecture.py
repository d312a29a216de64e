"""Imports run down only, each library has its one importer, and TensorFlow waits for training."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("pipeline", "experiments", "benchmarks", "tests")
# Who may import whom, from the ground up: a room names only rooms above it in this list. A room is
# a folder, or a file beside the folders.
MAY_IMPORT = {
    "masking": "",
    "memory": "",
    "errors": "masking",
    "interrupts": "",
    "displays": "",
    "progress": "displays",
    "life": "",
    "config": "errors",
    "data": "config errors memory progress",
    "measure": "errors progress",
    "figures": "",
    "ops": "config errors",
    "networks": "config errors ops",
    "parts": "config measure ops networks",
    "methods": "config ops networks parts",
    "tracking": "config errors interrupts life masking networks progress",
    "training": "config errors interrupts memory measure progress ops networks parts methods",
    "stages": "config errors progress data figures measure ops networks methods training",
    "runs": "config errors interrupts progress data figures measure ops networks stages "
    "tracking training",
    "command_line": "config errors interrupts masking tracking",
    "__main__": "command_line config errors progress runs tracking",
    "experiments.markdown": "",
    "experiments.space": "config errors",
    "experiments.settings": "config errors",
    "experiments.equal_time": "config errors experiments.space",
    "experiments.checks": "config errors experiments.space experiments.settings",
    "experiments.plan": "config errors experiments.space experiments.settings "
    "experiments.equal_time experiments.checks",
    "experiments.trial": "config data errors runs stages tracking training",
    "experiments.pace": "config data stages training",
    "experiments.workers": "command_line errors interrupts life progress experiments.trial",
    "experiments.search": "config data errors interrupts life masking ops progress runs stages "
    "tracking experiments.markdown experiments.plan experiments.settings experiments.space "
    "experiments.equal_time experiments.trial experiments.pace experiments.workers",
    "experiments.curve": "config data errors figures interrupts measure methods networks ops "
    "progress runs stages tracking training experiments.markdown experiments.trial "
    "experiments.workers",
    "experiments.report": "errors experiments.search experiments.curve",
    "experiments.__main__": "command_line config errors masking progress tracking "
    "experiments.space experiments.settings experiments.checks experiments.plan "
    "experiments.search experiments.curve experiments.report",
}
USE_TENSORFLOW = ("ops", "networks", "parts", "training", "methods")
ONLY_IMPORTER = {"mlflow": "pipeline.tracking", "yaml": "pipeline.config"}
ONLY_IMPORTER |= {"argparse": "pipeline.command_line", "optuna": "experiments.search"}
ONLY_IMPORTER |= {"ray": "experiments.workers"}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PRODUCT = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("experiments/**/*.py")]
FILES = {module_name(path): path for path in sorted(PRODUCT)}


def room(module):
    folder, name, *_ = [*module.split("."), "package"]
    return name if folder == "pipeline" or name == "package" else f"{folder}.{name}"


def imports(module, *, when_loaded=False):
    """What a module imports: anywhere, or only in what runs when it is loaded itself."""
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
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if types_only and when_loaded:
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


def test_no_two_modules_import_each_other():
    """Types count too, and imports inside functions: a circle is a circle however it is tied."""
    TopologicalSorter({module: imports(module) & FILES.keys() for module in FILES}).prepare()


def test_tensorflow_is_loaded_by_its_rooms_alone():
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
        "assert 'mlflow' in sys.modules and 'pipeline.runs.flow' in sys.modules\n"
        "print(*sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


def test_every_module_says_what_it_is():
    for module, path in FILES.items():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), module
