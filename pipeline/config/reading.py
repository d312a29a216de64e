"""YAML files as layers of a configuration: each value with its file and line."""

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.config.schema import Value
from pipeline.errors import UserError, looked_for


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
        text = path.read_text(encoding="utf-8")
        root, values = _parsed(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        where = looked_for(path) if isinstance(error, FileNotFoundError) else ""
        raise UserError(
            f"config file {path}: cannot be read ({reason}){where}; give a YAML file of lines "
            "`key: value`."
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "malformed"
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


@functools.lru_cache(maxsize=32)
def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes and the values of a text; a search's check reads the same files over and over."""
    return yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
