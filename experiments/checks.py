"""What a search refuses: keys that it decides itself, trials that could not be compared."""

from collections.abc import Iterable, Mapping

from experiments.settings import Settings
from experiments.space import LABEL_KEYS, Choices, Range
from pipeline.config.key import is_none
from pipeline.config.reading import Layer
from pipeline.config.schema import RECORD, Config
from pipeline.errors import UserError

RATES = ("generator_lr", "discriminator_lr")
# What a trial decides itself, or what would make its runs something else.
REFUSED = RECORD | {"split_file", "baseline"}
# What all trials of a study have in common, or derive from its number.
UNSEARCHED = frozenset({"dataset", "data_dir", "seed", "threads"})
# What decides the images that a trial is judged on.
MEASURE = frozenset({"valid_labels", "valid_frac", "split_seed", "stratified"})


def reject(merged: Layer) -> None:
    """Refuse keys that no search may have, or may search."""
    for key in sorted(REFUSED & set(merged)):
        raise UserError(
            f"{key} = {merged[key].value!r} (from {merged[key].source}): a search decides {key} "
            "itself; leave it out."
        )
    for key in sorted((UNSEARCHED | MEASURE) & set(merged)):
        if isinstance(merged[key].value, dict):
            why = " (trials are compared on the same validation images)" * (key in MEASURE)
            raise UserError(
                f"{key} = {merged[key].value} (from {merged[key].source}): cannot be searched{why}"
                "; give it a value."
            )


def reject_rival(labels: str, said: Layer, source: str) -> None:
    """Refuse another number of labels in the search's file or a flag; a `config`'s gives way.

    Args:
        labels: the key that is searched.
        said: the file's values and the flags.
        source: where `labels` comes from.
    """
    for key in LABEL_KEYS:
        value = said[key].value if key in said else None
        if not isinstance(value, dict) and not is_none(value):
            raise UserError(
                f"{key} = {value!r} (from {said[key].source}): {labels} is searched "
                f"({source}), and both say how many labels are read; leave {key} out."
            )


def check(
    space: Mapping[str, Range | Choices],
    settings: Settings,
    configs: Iterable[Config],
    sources: Mapping[str, str],
    path: str,
) -> None:
    """Refuse a space whose trials could not be compared.

    Args:
        space: what is searched.
        settings: of the search.
        configs: of the ends of the space.
        sources: where each key comes from, for messages.
        path: the search's file.

    Raises:
        UserError: what cannot be searched so; a value of a configuration that is not allowed.
    """
    if not set(LABEL_KEYS) & set(space):
        raise UserError(
            f"search = {path}: searches neither label_frac nor labels_per_class; give one of them "
            "a distribution, e.g. label_frac: {low: 0.01, high: 0.3, log: true}."
        )
    if set(LABEL_KEYS) <= set(space):
        raise UserError(f"search = {path}: label_frac and labels_per_class: search one of them.")
    label_key = next(key for key in LABEL_KEYS if key in space)
    mixed = settings.mode == "pareto" and len(space[label_key].ends) > 1
    for config in configs:
        _check_validation(config, mixed, sources, path)
    if settings.mode == "budget" and isinstance(space[label_key], Range):
        raise UserError(
            f"{label_key} (from {sources[label_key]}): mode budget compares at fixed label counts; "
            "give {choices: […]}."
        )
    if settings.mode == "budget" and set(space) <= {label_key, "method"}:
        raise UserError(
            f"search = {path}: mode budget searches rates at each label count; give one of "
            f"{', '.join(RATES)} a distribution."
        )


def _check_validation(config: Config, mixed: bool, sources: Mapping[str, str], path: str) -> None:
    """Refuse a configuration without validation labels, or with others in each trial.

    mixed: whether trials of several label counts are compared.
    """
    if not config.valid_frac and not config.valid_labels:
        raise UserError(
            f"search = {path}: no validation labels to select by; set valid_labels (the same "
            f"images in every trial){'' if mixed else ' or valid_frac'}."
        )
    if mixed and config.valid_frac:
        raise UserError(
            f"valid_frac = {config.valid_frac:g} (from {sources.get('valid_frac', path)}): trials "
            "of few labels would be judged on few images, and be the best by luck; set "
            "valid_labels, the same images in every trial, and leave valid_frac out."
        )
