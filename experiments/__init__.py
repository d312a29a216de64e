"""Many runs: a search over label fraction and learning rates, its workers and its answer.

`plan.py` says what is searched, `trial.py` runs one trial as an MLflow run, `search/` is the only
importer of optuna, `workers.py` the only importer of ray.
"""
