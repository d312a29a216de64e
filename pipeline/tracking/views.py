"""Ready-made views of an experiment in the MLflow UI, and the addresses that open them.

A view is a tag of the experiment, as the page itself writes it for "Save view" (MLflow 3.17.2).
Which of table and charts is shown lies in the address alone, so every view has both.
"""

import colorsys
import contextlib
import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mlflow

from pipeline.interrupts import undisturbed
from pipeline.masking import without_credentials
from pipeline.tracking.faults import FAULTS
from pipeline.tracking.store import KIND, REASON

LABELS, CURVES, SAMPLES = "ssgan-labels", "ssgan-curves", "ssgan-samples"
TRIALS, WINNERS = "ssgan-trials", "ssgan-winners"
SHOWN_AS_CHARTS = (CURVES, SAMPLES)

TAG = "mlflow.sharedViewState."
COLOUR = "mlflow.runColor"
# Chosen so that the methods that come with ssgan are told apart.
HUES, SALT = 9, 620

N_LABELS, TEST_ERROR, VALID_ERROR = "n_labels", "test/error", "valid/error"
ERRORS = (TEST_ERROR, "test/error_low", "test/error_high")
GAINS = ("baseline/test_error", "lift", "lift_low", "lift_high")
SAMPLE_MEASURES = ("samples/read_as_wanted", "samples/kid", "samples/coverage", "samples/density")
# Kinds of runs that the curves leave out: what trains nothing, and the baseline.
UNTRAINED = (
    *("baseline", "split", "evaluate", "sample", "predict", "sync", "resume", "report"),
    *("curve", "curve_command", "search", "study"),
)
SEEDS = ("seed", "split_seed")
BASIS = ("method", "dataset", *SEEDS)
# Sections that MLflow would add by itself, open and below ours.
OTHERS = (
    *("baseline", "samples", "study", "test", "time", "train", "valid"),
    *("Model metrics", "System metrics"),
)
# Pixels of a column whose name is short; of longer ones as many a letter.
LEAST_WIDTH, LETTER, NAME_WIDTH = 88, 8.5, 300
CREATED, NAME = "attributes.start_time", "attributes.`Run Name`"

Card = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """Charts under one heading."""

    name: str
    cards: Sequence[Card]
    across: int  # charts in a row, 1 to 5
    height: int = 330  # of a chart, pixels


def server() -> str:
    """Where the UI is: the tracking server, or what `make ui` starts."""
    store = str(mlflow.get_tracking_uri())
    if store.startswith("http"):
        return without_credentials(store).rstrip("/")
    return f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or 5000}"


def address(experiment_id: str, view: str) -> str:
    """The address that opens a view."""
    page = f"{server()}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}"
    mode = "&compareRunsMode=CHART" if view in SHOWN_AS_CHARTS else ""
    return f"{page}&workflowType=machine_learning{mode}"


def offer(
    client: mlflow.MlflowClient, experiment_id: str, searched: Collection[str] | None = None
) -> None:
    """Give an experiment its views where they are missing or out of date.

    Whatever runs in the experiment of a study, its views stay. A store that refuses is passed
    over: no run is lost for a view.

    Args:
        client: of the store.
        experiment_id: of the experiment.
        searched: the keys that a study varies; None = the experiment is none of a study.
    """
    with contextlib.suppress(*FAULTS), undisturbed():
        there = client.get_experiment(experiment_id).tags
        if searched is None and TAG + TRIALS in there:
            return
        wanted = _of_runs() if searched is None else _of_study(searched)
        for number, (key, (name, state)) in enumerate(reversed(wanted.items())):
            # Numbers for times: what users save stands above ours, and a view is always the same.
            times = {"createdAt": number, "updatedAt": number}
            value = json.dumps({"name": name, **times, "state": json.dumps(state)})
            if there.get(TAG + key) != value:
                client.set_experiment_tag(experiment_id, TAG + key, value)


def colour(method: str, n_labels: int) -> str:
    """The colour of a run in charts: a hue for the method, darker with more labels, `#rrggbb`."""
    salt = SALT.to_bytes(2, "big")
    drawn = hashlib.blake2b(method.encode(), digest_size=1, salt=salt).digest()
    hue = drawn[0] % HUES / HUES
    depth = min(max(math.log10(max(n_labels, 1)) / 4, 0.0), 1.0)  # 10,000 labels: the darkest
    saturation = 0.0 if method == "supervised" else 0.75
    rgb = colorsys.hls_to_rgb(hue, 0.8 - 0.5 * depth, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def _of_runs() -> dict[str, tuple[str, dict[str, Any]]]:
    """Key → name and state of the views of an ordinary experiment."""
    tested = f"attributes.status = 'FINISHED' and metrics.`{TEST_ERROR}` >= 0"
    columns = _columns([N_LABELS, *ERRORS, *GAINS, *SAMPLE_MEASURES], BASIS)
    against = (TEST_ERROR, "lift", *SAMPLE_MEASURES)
    trained = " and ".join(f"tags.`{KIND}` != '{kind}'" for kind in UNTRAINED)
    newest = {"orderByKey": CREATED, "orderByAsc": False, "runsHiddenMode": "FIRST_10_RUNS"}
    classifier = [VALID_ERROR, *_train("supervised_loss", "discriminator_loss", "consistency_loss")]
    classifier += _train("entropy_loss", "confident_share", "contrastive_loss")
    generator = _train("generator_loss", "unsupervised_loss", "pull_away_loss", "images_per_second")
    curves = [
        Section("Classifier", [_line(key) for key in classifier], 2),
        Section("Generator and speed", [_line(key) for key in generator], 2),
    ]
    images = [
        Section("Images at the end of training", [_images("final_samples", 0)], 1, 740),
        Section("Images while training", [_images("samples", 100)], 1, 430),
    ]
    return {
        LABELS: (
            "error by labels",
            _state(
                f"{tested} and tags.`{KIND}` != 'baseline'",
                columns,
                [Section("Against the number of labels", [_dots(N_LABELS, y) for y in against], 2)],
            ),
        ),
        CURVES: ("curves", _state(trained, columns, curves, **newest)),
        SAMPLES: (
            "samples side by side",
            _state(trained, columns, images, runListHidden=True, **newest),
        ),
    }


def _of_study(searched: Collection[str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Key → name and state of the views of a study."""
    keys = [*dict.fromkeys(["method", *searched])]
    objectives = [VALID_ERROR, N_LABELS]
    # The last one colours the lines. A parameter that all runs share breaks the chart.
    lanes = {"type": "PARALLEL", "selectedParams": [*searched], "showAllRuns": True}
    lanes["selectedMetrics"] = [N_LABELS, VALID_ERROR]
    of_trials = [
        Section("Validation error against labels", [_dots(N_LABELS, VALID_ERROR)], 1, 400),
        Section("What was searched", [lanes], 1, 400),
        Section("Curves", [_line(VALID_ERROR)], 1),
    ]
    of_winners = [Section("Test error against labels", [_dots(N_LABELS, TEST_ERROR)], 1, 400)]
    return {
        TRIALS: (
            "trials",
            _state(
                f"tags.`{KIND}` = 'trial'",
                [*_columns(objectives, keys), f"tags.`{REASON}`"],
                of_trials,
                orderByKey=f"metrics.`{VALID_ERROR}`",
            ),
        ),
        WINNERS: (
            "winners",
            _state(
                f"attributes.status = 'FINISHED' and tags.`{KIND}` = 'evaluate'",
                _columns([N_LABELS, *ERRORS, *SAMPLE_MEASURES], keys),
                of_winners,
            ),
        ),
    }


def _state(
    where: str, columns: Sequence[str], sections: Iterable[Section], **other: Any
) -> dict[str, Any]:
    """The state of MLflow's page of runs; see `ExperimentPageUIState` in its source."""
    shown, cards = [], []
    for section in sections:
        uuid = f"ssgan {section.name}"
        sizes = {"columns": section.across, "cardHeight": section.height}
        shown.append({"uuid": uuid, "name": section.name, "display": True, **sizes})
        for number, card in enumerate(section.cards):
            place = {"uuid": f"{uuid} {number}", "metricSectionId": uuid}
            cards.append({**place, "deleted": False, "isGenerated": False, **card})
    shown += [{"uuid": f"ssgan {name}", "name": name, "display": False} for name in OTHERS]
    letters = {column: len(column.partition(".")[2].strip("`")) for column in columns}
    widths = {column: max(LEAST_WIDTH, round(LETTER * n)) for column, n in letters.items()}
    return {
        "searchFilter": where,
        "orderByKey": f"metrics.`{N_LABELS}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "columnOrder": [NAME, "runDateAndNestInfo", *columns],
        "columnWidths": {NAME: NAME_WIDTH, **widths},
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": None,
        "hideEmptyCharts": True,
        "isAccordionReordered": True,  # our sections stay first
        "compareRunSections": [{"isReordered": True, "deleted": False, **one} for one in shown],
        "compareRunCharts": cards,
    } | other


def _columns(metrics: Iterable[str], params: Iterable[str]) -> list[str]:
    return [f"metrics.`{key}`" for key in metrics] + [f"params.`{key}`" for key in params]


def _train(*names: str) -> list[str]:
    return [f"train/{name}" for name in names]


def _dots(x: str, y: str) -> Card:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {"type": "SCATTER", "runsCountToCompare": 100, **axes}


def _line(key: str) -> Card:
    axes = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "range": {}}
    shared = {"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True, "lineSmoothness": 0}
    return {"type": "LINE", "metricKey": key, "yAxisKey": "metric", **axes, **shared}


def _images(key: str, step: int) -> Card:
    # The parameters of a run would stand as caption over its image.
    return {"type": "IMAGE", "imageKeys": [key], "step": step, "showRunParams": False}
