"""The YAML files that have a name: methods, data sets, kinds of image; and their blocks."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from pipeline.config.key import Value, is_none
from pipeline.config.reading import Layer, Sourced, read_yaml
from pipeline.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PRETRAINED = "pretrained"  # the YAML, and the block of a method's, that hold with a backbone
BLOCKS = ("kinds", "datasets")  # of a YAML: what differs on images of a kind, on a data set


def names(kind: str) -> list[str]:
    """The known names of a kind ("method", "dataset", "kind"): the files of `configs/<kind>/`."""
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def is_pretrained(backbone: Value) -> bool:
    """Whether a value of `backbone` names a network; `auto` does not yet."""
    return not is_none(backbone) and backbone != "auto"


def layer(kind: str, name: Sourced) -> Layer:
    """The file of a name of a kind.

    Raises:
        UserError: no such name.
    """
    known = names(kind)
    if name.value not in known:
        raise UserError(
            f"{kind} = {name.value!r} (from {name.source}): no such {kind}"
            f"{suggestion(str(name.value), known)}; known: {', '.join(known)}."
        )
    return read_yaml(CONFIGS / kind / f"{name.value}.yaml")


def kind_layer(kind: Sourced) -> Layer:
    """What differs on images of a kind; nothing for an unknown one, which validation refuses."""
    return layer("kind", kind) if kind.value in names("kind") else {}


def with_blocks(
    whole: Layer, kind: Sourced, dataset: Sourced | None = None, pretrained: bool = False
) -> Layer:
    """A YAML with its blocks taken up: what differs on images of one kind and on one data set,
    and, under the name of a kind, on a backbone.
    """
    plain = {key: sourced for key, sourced in whole.items() if key not in BLOCKS}
    backbone = Sourced(PRETRAINED, "the backbone") if pretrained else None
    for what, chosen in (*zip(BLOCKS, (kind, dataset), strict=True), ("kinds", backbone)):
        # What is no text names nothing; validation refuses it.
        if what in whole and chosen is not None and isinstance(chosen.value, str):
            blocks, source = whole[what]
            block: Mapping[str, Value] = blocks.get(chosen.value, {})  # type: ignore[union-attr]
            here = f"{source}, {what}: {chosen.value}"
            plain |= {key: Sourced(value, here) for key, value in block.items()}
    return plain


def suggestion(word: str, known: list[str]) -> str:
    """The nearest known word as ", did you mean …?", or nothing."""
    near = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {near[0]}?" if near else ""
