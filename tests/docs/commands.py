"""The commands, links and words of README.md and docs/, and what becomes of each command."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
MENTIONED = r"(?:python -m (?:pipeline|experiments|benchmarks)|mlflow run \.|make [a-z])"

# What is not run here, and why. What is ours of it is parsed all the same: flags, values, targets.
NOT_RUN = {
    r"^source \.venv/bin/activate$": "the test has its Python on the PATH",
    r"^mlflow run \. (?!.*--env-manager)": "conda is not here",
    r"--env-manager uv\b": "builds an environment of 2.6 GB; test_project.py reads conda.yaml",
    r"^uvx |^uv pip install": "downloads a package",
    r"^git clone|^make setup": "the checkout and its environment are here",
    r"--labels_per_class (25|400) (?=--generator)": "needs the 50,000 pictures of CIFAR-10",
    r"--search mnist\b": "needs the 60,000 images of MNIST",
    r"^make (test|lint|bench|\w+-test|screenshots)$": "are tests themselves, or take long",
    r"^python -m benchmarks\.samples_by_labels": "five whole trainings: minutes",
    r"^python -m benchmarks\.label_curve": "hundreds of simulated curves, and MNIST: minutes",
    r"^sudo |^echo ": "changes the machine: PostgreSQL; `make cluster-test` starts one of its own",
    r"^ray |^psql |^export RAY_ADDRESS|^export MLFLOW_TRACKING_URI=http|--workers ray\b|@db/|"
    r"@localhost/|^mlflow server --host 0\.0\.0\.0": "a cluster; `make cluster-test` starts one",
    r"^docker |^helm |^kubectl ": "Kubernetes; tests/test_project.py reads its files",
}
# What is run, made small; the first pattern that is found decides which.
SMALL = {
    r"python -m pipeline run --resume ": r"\g<0>",
    r"python -m pipeline (run|train)\b": r"\g<0> --steps 40",
    r"python -m pipeline (split|evaluate|predict|sample)\b": r"\g<0>",
    r"python -m experiments search\b": r"\g<0> --steps 40",
    r"python -m experiments curve\b": r"\g<0> --steps 40 --workers 2 --seeds 1",
    r"^mlflow run \. -e curve\b.*$": r"\g<0> -P steps=40 -P seeds=1",
    r"python -m experiments report\b": r"\g<0>",
    r"^mlflow run \..*$": r"\g<0> -P steps=40",
    r"^mlflow artifacts download ": r"\g<0>",
    r"^MLFLOW_TRACKING_URI=\S+ mlflow gc ": r"\g<0>",
    r"^make run\b|^make ui\b|^mlflow models serve\b": r"\g<0>",
}
SMALLER = {
    r"(--mode budget) --trials \d+": r"\1 --trials 1 --top 1",
    r"--seeds (?!1\b)\d+": "--seeds 1",
    r"(?<!budget --)\btrials([ =])\d+": r"trials\g<1>2",
    r"(for \w+ in [^\s;]+ [^\s;]+)[^;]*;": r"\1;",
}


@dataclass(frozen=True)
class Command:
    """A command as a document shows it, or a block of Python; its placeholders are not filled."""

    document: str
    line: int
    text: str
    language: str = "sh"

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"

    @property
    def reason(self) -> str | None:
        """Why it is not run."""
        found = (why for pattern, why in NOT_RUN.items() if re.search(pattern, self.text))
        return next(found, None) if self.language == "sh" else None

    @property
    def small(self) -> str | None:
        """The command on a small budget, None if nobody has said how."""
        if self.language == "python":
            return self.text
        for pattern, small in SMALL.items():
            if re.search(pattern, self.text):
                text = re.sub(pattern, small, self.text)
                for large, smaller in SMALLER.items():
                    text = re.sub(large, smaller, text)
                return text
        return None


def tokens(path: Path) -> list[Token]:
    """The blocks of a document."""
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def inside(path: Path, kind: str) -> Iterator[Token]:
    """What stands in running text: code_inline, link_open, image."""
    for token in tokens(path):
        yield from (child for child in token.children or [] if child.type == kind)


def commands(path: Path) -> list[Command]:
    """The lines of a document's ```sh blocks and its ```python blocks, in order."""
    document, found = str(path.relative_to(ROOT)), []
    for token in tokens(path):
        if token.type == "fence" and token.info == "python":
            found.append(Command(document, token.map[0] + 1, token.content, "python"))
        elif token.type == "fence" and token.info == "sh":
            found += lines(document, token.map[0] + 2, token.content)
    return found


def owned(path: Path) -> list[Command]:
    """The commands that no document before this one shows, how-tos before README.md."""
    order = [*DOCUMENTS[1:], DOCUMENTS[0]]
    before = [c.text for other in order[: order.index(path)] for c in commands(other)]
    return [command for command in commands(path) if command.text not in before]


def lines(document: str, first: int, text: str) -> list[Command]:
    """The commands of a block of a shell's lines, without comments; first: its first line."""
    found, begun = [], ""
    for number, line in enumerate(text.splitlines(), first):
        begun += re.sub(r"(^|\s+)# .*$", "", line)
        if begun.endswith("\\"):
            begun = begun.removesuffix("\\").rstrip() + " "
        elif begun.strip():
            found.append(Command(document, number, re.sub(r"\s+", " ", begun).strip()))
            begun = ""
    return found


def mentioned(path: Path) -> list[Command]:
    """Commands of ours in running text, and those of indented blocks."""
    document, found = str(path.relative_to(ROOT)), []
    for token in tokens(path):
        line = (token.map or [0])[0] + 1
        if token.type == "code_block":
            found += lines(document, line, token.content)
        for child in token.children or []:
            if child.type == "code_inline" and re.match(MENTIONED, child.content):
                found.append(Command(document, line, child.content))
    return found


def files(path: Path) -> dict[str, str]:
    """Files that a document shows: fenced blocks whose first line ends in the file's name."""
    shown = [token for token in tokens(path) if token.type == "fence" and " " in token.info]
    return {token.info.partition(" ")[2]: token.content for token in shown}


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to a document's headings."""
    found, heading = set(), False
    for token in tokens(path):
        if heading:
            said = "".join(child.content for child in token.children or [])
            found.add(re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-"))
        heading = token.type == "heading_open"
    return found
