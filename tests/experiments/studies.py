"""Small studies in real storages, as tests open them."""

from optuna.trial import TrialState

from experiments import plan
from experiments.search import Study, open_storage


def opened(place, digest="data", **flags):
    """A study of six trials that are not made yet, or the same again."""
    found = plan.read({"study": "s", "trials": "6", **flags})
    study = Study.open(found, open_storage(place), digest)
    study.note(trials=found.settings.trials)
    return study


def finished(claim, error=0.1, labels=120):
    """Whether a claimed trial could be completed."""
    return claim.finish(TrialState.COMPLETE, [error, labels], n_labels=labels, errors=[error])
