"""What stands in the store."""

import mlflow

SHORT = {"steps": "60", "report_every": "25", "seed": "3", "split_seed": "1", "label_frac": "0.05"}


def artifacts(run_id: str, folder: str = "") -> set[str]:
    client = mlflow.MlflowClient()
    return {item.path for item in client.list_artifacts(run_id, folder)}


def children(run_id: str) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    return client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")


def model(run_id: str, role: str) -> mlflow.entities.LoggedModel:
    client = mlflow.MlflowClient()
    there = [client.get_run(run_id).info.experiment_id]
    asked = f"source_run_id = '{run_id}' AND tags.`ssgan.role` = '{role}'"
    (found,) = client.search_logged_models(there, asked)
    return found
