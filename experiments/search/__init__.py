"""The only importer of optuna: studies in a storage, their trials handed out and taken back."""

from experiments.search.storage import open_storage, serve
from experiments.search.study import Study

__all__ = ["Study", "open_storage", "serve"]
