"""YAML files as layers of a configuration: each value with its file and line."""

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.config.key import Value
from pipeline.errors import UserError, looked_for

LARGEST = 100_000  # characters of a file: a thousand keys
DEEPEST = 20  # levels of lists in lists


class Sourced(NamedTuple):
    """A value and where it came from, for messages."""

    value: Value
    source: str


Layer = dict[str, Sourced]


def expanded(path: str) -> Path:
    """A path that may begin with ~."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - expanduser of pathlib raises


def read_yaml(path: Path) -> Layer:
    """A flat YAML mapping, each value with its file and line.

    Raises:
        UserError: the file cannot be read, is not valid YAML or no mapping, or has a key twice.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        root, values = parsed(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        where = looked_for(path) if isinstance(error, FileNotFoundError) else ""
        raise UserError(
            f"config file {path}: cannot be read ({reason}){where}; give a YAML file of lines "
            "`key: value`."
        ) from None
    except UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed"
        problem = f"longer than {LARGEST:,} characters" if len(text) > LARGEST else problem
        raise UserError(f"config file {path}{line}: not valid YAML ({problem}).") from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"config file {path}: must hold lines `key: value`.")
    lines: dict[str, int] = {}
    for node, _ in root.value:
        if node.value in lines:
            raise UserError(
                f"config file {path}, line {node.start_mark.line + 1}: {node.value} "
                f"stands there twice (first in line {lines[node.value]}); keep one."
            )
        lines[node.value] = node.start_mark.line + 1
    return {
        str(key): Sourced(value, f"{path}, line {lines.get(str(key), '?')}")
        for key, value in values.items()
    }


# A ValueError is a date that does not exist, or a number too long to be one.
UNREADABLE = (yaml.YAMLError, ValueError)


class _Loader(yaml.SafeLoader):
    """Reads plain values; what a short text can blow up is refused before it is."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            problem = "anchors and aliases, & and *, are not read: write each value out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        self.depth += 1
        if self.depth > DEEPEST:
            problem = f"lists nested deeper than {DEEPEST} levels"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


@functools.lru_cache(maxsize=32)
def parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes and the values of a text; a search's check reads the same files over and over.

    Raises:
        yaml.YAMLError, ValueError (`UNREADABLE`): it is not YAML of plain values, or too long.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError
    return yaml.compose(text, _Loader), yaml.load(text, _Loader)
