"""Tells the store one record of a spool. A record may be sent again: nothing is there twice."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from PIL import Image

from pipeline.errors import RunFailure
from pipeline.tracking import models
from pipeline.tracking.dead import PARENT
from pipeline.tracking.spool import END, GIVE_UP, Entry, Spool
from pipeline.tracking.store import KIND, REASON

# Each is a method of `Delivery`.
KINDS = (
    *("child", "params", "metrics", "tags", "image", "artifact", "inputs", "model", "versions"),
    END,
)
# As MLflow names its files: 3.17.2 with "+", older ones with "%".
IMAGE = re.compile(r"images/(.+)[+%]step[+%](\d+)[+%]timestamp[+%](\d+)[+%]")
USED = "ssgan.used"  # tag: parameters whose value is not what is shown of them
FILES = 2  # of an image: itself, and a small one


@dataclass
class Delivery:
    """Sends the records of one spool."""

    client: mlflow.MlflowClient
    experiment_id: str
    spool: Spool
    models: dict[tuple[str, str], str] = field(default_factory=dict)  # run, role → id

    def send(self, entry: Entry, again: bool) -> None:
        """Tell the store a record. again: an earlier attempt may have reached it.

        Raises:
            Exception: whatever MLflow raises; see `faults`.
        """
        if entry.kind not in KINDS:
            raise RunFailure(f"a record of kind {entry.kind!r} is not known; {GIVE_UP}.")
        tell: Callable[[Entry, str, bool], None] = getattr(self, f"_{entry.kind}")
        tell(entry, self.run_id(entry.run), again)

    def run_id(self, run: str) -> str:
        """What the store calls a run."""
        return self.spool.ids.get(run, run)

    def _child(self, entry: Entry, run_id: str, again: bool) -> None:
        """Begin a child run."""
        parent, tags = self.run_id(entry.fields["parent"]), dict(entry.fields["tags"])
        if again or entry.fields["tried"]:
            query = f"tags.`{PARENT}` = '{parent}' and tags.`{KIND}` = '{tags[KIND]}'"
            there = self.client.search_runs([self.experiment_id], query, max_results=1)
            if there:
                self.spool.call(entry.run, there[0].info.run_id)
                return
        made = self.client.create_run(
            self.experiment_id,
            start_time=entry.fields["begun"],
            run_name=entry.fields["name"],
            tags={**tags, PARENT: parent},
        )
        self.spool.call(entry.run, made.info.run_id)

    def _params(self, entry: Entry, run_id: str, again: bool) -> None:
        """Leaving out those that `mlflow run` has logged as typed; a tag says what was used."""
        there = self.client.get_run(run_id).data.params
        values = entry.fields["values"].items()
        missing = [Param(key, value) for key, value in values if key not in there]
        others = [f"{key}={value}" for key, value in values if there.get(key, value) != value]
        tags = [RunTag(USED, " ".join(others))] if others else []
        self.client.log_batch(run_id, params=missing, tags=tags)

    def _metrics(self, entry: Entry, run_id: str, again: bool) -> None:
        held = entry.fields
        name, digest = held["dataset"]
        model = self._model_id(run_id, held["model"]) if held["model"] else None
        values = held["values"]
        if again:  # stores that keep files would keep it twice
            values = {key: value for key, value in values.items() if not self._has(entry, key)}
        batch = [
            Metric(
                key,
                float(value),
                held["time"],
                held["step"],
                model_id=model,
                run_id=run_id,
                dataset_name=name or None,
                dataset_digest=digest or None,
            )
            for key, value in values.items()
        ]
        self.client.log_batch(run_id, metrics=batch)

    def _has(self, entry: Entry, key: str) -> bool:
        point = (entry.fields["step"], entry.fields["time"])
        history = self.client.get_metric_history(self.run_id(entry.run), key)
        return point in {(known.step, known.timestamp) for known in history}

    def _tags(self, entry: Entry, run_id: str, again: bool) -> None:
        tags = [RunTag(key, value) for key, value in entry.fields["values"].items()]
        self.client.log_batch(run_id, tags=tags)

    def _image(self, entry: Entry, run_id: str, again: bool) -> None:
        key, step = entry.fields["key"], entry.fields["step"]
        if again and (key, step) in images(self.client, run_id):
            return
        (file,) = entry.files.iterdir()
        with Image.open(file) as image:
            pixels = np.asarray(image)
        self.client.log_image(
            run_id, pixels, key=key, step=step, timestamp=entry.fields["time"], synchronous=True
        )

    def _artifact(self, entry: Entry, run_id: str, again: bool) -> None:
        inside = Path(entry.fields["path"]).parent
        (file,) = entry.files.iterdir()
        self.client.log_artifact(run_id, str(file), str(inside) if inside.name else None)

    def _inputs(self, entry: Entry, run_id: str, again: bool) -> None:
        held = MlflowDataset(**entry.fields["dataset"])
        inputs = [DatasetInput(held, [InputTag("mlflow.data.context", "training")])]
        try:
            self.client.log_inputs(run_id, inputs)
        except MlflowException as error:
            # Of two first runs of an experiment at once mlflow 3.17.2 refuses one: each would
            # make the entry. By now it is there.
            if error.error_code != "BAD_REQUEST":
                raise
            self.client.log_inputs(run_id, inputs)

    def _model(self, entry: Entry, run_id: str, again: bool) -> None:
        held = entry.fields
        there = models.logged_model(self.client, self.experiment_id, run_id, held["role"])
        if there is None:
            there = models.send(self.client, self.experiment_id, run_id, entry.files, **held)
        elif held["register_as"]:
            models.register(self.client, run_id, there, held["register_as"])
        self.models[run_id, held["role"]] = there

    def _versions(self, entry: Entry, run_id: str, again: bool) -> None:
        model_id = self._model_id(run_id, entry.fields["model"])
        models.describe_versions(
            self.client, model_id, entry.fields["tags"], entry.fields["description"]
        )

    def _end(self, entry: Entry, run_id: str, again: bool) -> None:
        """End a run, also one that another command took for dead."""
        reason, end = entry.fields["reason"], entry.fields["time"]
        if reason:
            self.client.set_tag(run_id, REASON, reason)
        elif REASON in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, REASON)
        self.client.set_terminated(run_id, entry.fields["status"], end)

    def _model_id(self, run_id: str, model: str) -> str:
        """The id of a model that is named by it, or by its role in the run."""
        if (run_id, model) not in self.models:
            found = models.logged_model(self.client, self.experiment_id, run_id, model)
            self.models[run_id, model] = found or model
        return self.models[run_id, model]

    def model_id(self, run: str, role: str) -> str:
        """The id of a run's model of a role; of one that is named by its id, that."""
        return self._model_id(self.run_id(run), role)


def images(client: mlflow.MlflowClient, run_id: str) -> frozenset[tuple[str, int]]:
    """Key and step of the images of a run that are there with all their files."""
    names = [IMAGE.match(file.path) for file in client.list_artifacts(run_id, "images")]
    files = Counter(match.groups() for match in names if match)
    return frozenset((key, int(step)) for (key, step, _), n in files.items() if n >= FILES)


def described(dataset: Any) -> dict[str, str]:
    """An MLflow data set as the fields of its entity, to be kept."""
    return dict(dataset._to_mlflow_entity())
