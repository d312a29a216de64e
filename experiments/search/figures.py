"""A study's pictures, Optuna's own: the front as HTML (hover text) and PNG, the rest as PNG."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from experiments.search.sampling import searched
from experiments.search.study import Study
from experiments.space import Choices
from pipeline.config.key import Value
from pipeline.tracking import Run

COST, ERROR = "label cost", "validation error (share)"
LEAST = 2  # complete trials that importances need


def draw(study: Study, run: Run, there: Path) -> None:
    """Log the figures on the summary run, and keep the front's HTML in `there`."""
    pool = pooled(study)
    complete = pool.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST:
        return
    page = there / "front.html"
    figure = optuna.visualization.plot_pareto_front(
        pool, targets=_place, target_names=[COST, ERROR]
    )
    figure.update_xaxes(type="log")
    figure.write_html(page, include_plotlyjs=True)
    run.text(page.read_text(encoding="utf-8"), "figures/front.html")
    for name, picture in _pictures(pool).items():
        run.figure(picture, f"figures/{name}.png")


def pooled(study: Study) -> optuna.Study:
    """All searched trials as one study of two objectives, in memory."""
    pool = optuna.create_study(directions=["minimize", "minimize"])
    choices = {
        key: CategoricalDistribution([_plain(choice) for choice in held.choices])
        for key, held in study.plan.space.items()
        if isinstance(held, Choices)
    }
    for cell in study.cells:
        for trial in study.trials(cell):
            if trial.state == TrialState.COMPLETE:
                values = {**cell.given, **searched(study.plan, trial)}
                params = {key: _plain(value) for key, value in values.items()}
                distributions = {**trial.distributions, **choices}
                pool.add_trial(_pooled(trial, {k: distributions[k] for k in params}, params))
    return pool


def _plain(value: Value) -> Any:
    """A value as Optuna takes it: a list becomes text."""
    return str(value) if isinstance(value, list) else value


def _pooled(trial: FrozenTrial, distributions: Any, params: Any) -> FrozenTrial:
    return optuna.trial.create_trial(
        params=params,
        distributions=distributions,
        values=[trial.values[0], trial.user_attrs["label_cost"]],
        user_attrs={key: trial.user_attrs[key] for key in ("n_labels", "errors", "run_ids")},
    )


def _place(trial: FrozenTrial) -> tuple[float, float]:
    """Where a trial lies in the picture of the front: label cost across, error up."""
    return trial.values[1], trial.values[0]


def _pictures(pool: optuna.Study) -> dict[str, Any]:
    """The matplotlib figures by name."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
    from optuna.visualization import matplotlib as plots

    def error(trial: FrozenTrial) -> float:
        return float(trial.values[0])

    aimed: dict[str, Any] = {"target": error, "target_name": ERROR}
    wanted: dict[str, Callable[[], Any]] = {
        "front": lambda: plots.plot_pareto_front(pool, targets=_place, target_names=[COST, ERROR]),
        "history": lambda: plots.plot_optimization_history(pool, **aimed),
        "importances": lambda: plots.plot_param_importances(pool, **aimed),
        "slices": lambda: plots.plot_slice(pool, **aimed),
        "parallel_coordinates": lambda: plots.plot_parallel_coordinate(pool, **aimed),
    }
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, plot in wanted.items():
            axes = plot()
            figure = (axes.ravel()[0] if hasattr(axes, "ravel") else axes).figure
            if name == "front":
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            for each in figure.axes:  # ticks between the powers of ten would run into each other
                for axis in (each.xaxis, each.yaxis):
                    axis.set_minor_formatter(NullFormatter())
            figure.set_size_inches(max(9.0, figure.get_size_inches()[0]), 5.5)
            figure.subplots_adjust(bottom=0.25 if name == "parallel_coordinates" else 0.12)
            found[name] = figure
            plt.close(figure)
    return found
