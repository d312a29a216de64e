"""What `run --resume=<run id>` needs: a run that was ended early, its configuration, its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline import progress, tracking
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.runs import kept, provenance, resume
from pipeline.runs.logged import WEIGHTS
from pipeline.tracking import CHECKPOINTS, Ended

RESUME = "resume"
FREE = ("data_dir", "checkpoint_dir", "checkpoint_every")  # keys that only say where and how often
KINDS = {"pipeline": "run", "train": "train"}  # kinds of run that go on, and the stage of each


@dataclass(frozen=True)
class GoingOn:
    """A run that goes on."""

    run_id: str
    kind: str
    config: Config
    folder: Path
    code: str  # digests of all code that has made it, the first first


def command(run_id: str) -> str:
    """What goes on with a run."""
    return f"python -m pipeline run --resume {run_id}"


def asked(flags: Mapping[str, str]) -> GoingOn:
    """The run that `flags["resume"]` names, with its own configuration.

    Raises:
        UserError: another key that would change it; no such run, one that cannot go on, or that
            has nothing to go on from.
    """
    run_id = flags[RESUME]
    others = [key for key in flags if key not in (RESUME, *FREE)]
    if others:
        raise UserError(
            f"{others[0]} = {flags[others[0]]!r} (from --{others[0]}): resume goes on with the "
            f"run's own configuration; leave {others[0]} out, or start again without resume."
        )
    if not tracking.ended(run_id, RESUME).alive:  # one at work sends its own
        tracking.send_of(run_id)
    found = tracking.ended(run_id, RESUME)
    _check(run_id, found)
    folder = Path(found.tags.get(CHECKPOINTS, ""))
    if flags.get("checkpoint_dir"):
        folder = Path(flags["checkpoint_dir"]).expanduser().absolute() / run_id
    if folder.name != run_id or not kept.is_useful(folder):
        raise UserError(
            f"resume = {run_id!r}: there is no checkpoint of that run in {folder}; it ended before "
            f"the first one was due, or they were removed ({kept.DAYS} days after the last one). "
            "Its artifact config.yaml repeats it: python -m pipeline run --config <file>"
        )
    codes = [*found.tags.get(provenance.CODE, "").split(), provenance.tags()[provenance.CODE]]
    if len(set(codes)) > 1:
        progress.note("ssgan has changed since the run began: its numbers may be those of neither")
    config = _config(run_id, flags, folder)
    _check_weights(run_id, found, config)
    typed = found.tags.get(resume.TYPED, "").split()
    config = config.model_copy(update={"given": frozenset(typed)})
    return GoingOn(run_id, found.kind, config, folder, " ".join(dict.fromkeys(codes)))


def _check(run_id: str, found: Ended) -> None:
    """Whether a run can go on at all."""
    if found.kind not in KINDS:
        then = "a search repeats its trials by itself" if found.kind == "trial" else ""
        then = f"resume = {found.parent}, whose child it is" if found.parent else then
        raise UserError(
            f"resume = {run_id!r}: that run is of kind {found.kind!r}; those of kind "
            f"{' and '.join(KINDS)} go on{f': {then}' if then else ''}."
        )
    if found.status == "FINISHED":
        raise UserError(f"resume = {run_id!r}: that run has finished; nothing of it is left to do.")
    if found.alive:
        raise UserError(
            f"resume = {run_id!r}: that run is still at work, in another process of this machine; "
            "end that one first."
        )


def _check_weights(run_id: str, found: Ended, config: Config) -> None:
    """Whether a backbone still has the weights that the run has noted, if it has."""
    was = found.tags.get(WEIGHTS, "")
    now = backbones.digest(config.backbone, config.backbone_weights)
    if was and now not in was:
        raise UserError(
            f"backbone = {config.backbone}: run {run_id} began on {was}, and the weights here are "
            f"others (SHA-256 {now}); put those back, or start again without resume."
        )


def _config(run_id: str, flags: Mapping[str, str], folder: Path) -> Config:
    given = {key: value for key, value in flags.items() if key in FREE}
    if "checkpoint_dir" not in given:
        given["checkpoint_dir"] = str(folder.parent)
    base = resume.values_of(run_id)
    config = configuration.load(given, {**base, **kept.recorded(folder)})
    now = config.flat()
    for key in sorted(base.keys() - {*FREE}):
        if now[key] != base[key]:
            raise UserError(
                f"{key} = {base[key]!r}: run {run_id} has decided that, and this version of ssgan "
                f"makes {now[key]!r} of it; start again without resume."
            )
    return config
