"""What a user sees in MLflow's UI: the printed addresses, the views, images, models."""

import json
import re

import pytest
from playwright.sync_api import Browser, Page, expect

from pipeline.tracking import views
from tests.browser.conftest import N_LABELS, TRIALS, Shown
from tests.browser.site import address, card, column, new_page, ours

pytestmark = pytest.mark.browser

RUNS = {"error by labels": "metrics.`n_labels`", "curves": "", "samples side by side": ""}
STUDY = {"trials": "metrics.`valid/error`", "winners": "metrics.`n_labels`"}


def columns(page: Page) -> list[str]:
    page.locator("[role=gridcell]").first.wait_for()
    where = "head => [head.getBoundingClientRect().x, head.getAttribute('col-id')]"
    heads = page.locator("[role=columnheader][col-id]").all()
    found = [key for _, key in sorted(head.evaluate(where) for head in heads)]
    return [key for key in found if key.startswith(("metrics.", "params."))]


def test_the_printed_address_shows_labels_and_errors_without_a_click(
    shown: Shown, browser: Browser
) -> None:
    with new_page(browser, 1440, 900, first_visit=True) as (page, errors):
        page.goto(address(shown.run, "all"))
        expect(page.get_by_text("MLflow Assistant").last).to_be_visible()
        for key in ("metrics.`n_labels`", "metrics.`test/error`"):
            cells = page.locator(f'[role=gridcell][col-id="{key}"]')
            expect(cells).to_have_count(len(N_LABELS))
            for cell in cells.all():
                expect(cell).to_be_in_viewport(ratio=1)
        assert [int(text) for text in column(page, "metrics.`n_labels`")] == list(N_LABELS)
        assert all(0 < float(text) < 1 for text in column(page, "metrics.`test/error`"))
        assert not ours(errors)


def test_the_printed_address_of_a_run_opens_it(shown: Shown, page: Page) -> None:
    page.goto(address(shown.run, "next"))
    expect(page.get_by_role("heading", name="digits, ssgan, 29 labels, seed 0")).to_be_visible()
    expect(page.get_by_text("Model training", exact=True)).to_be_visible()
    expect(page.get_by_text("test/error_low")).to_be_visible()


def test_make_ui_says_an_address_that_shows_the_newest_runs(shown: Shown, page: Page) -> None:
    page.goto(shown.ui.removeprefix("Open ").strip())
    assert len(column(page, "metrics.`valid/error`")) == TRIALS


@pytest.mark.parametrize(
    ("line", "offered"), [("all", RUNS), ("trials", STUDY)], ids=["runs", "study"]
)
def test_the_views_are_listed_and_hold_their_columns(
    shown: Shown, page: Page, line: str, offered: dict[str, str]
) -> None:
    start = address(shown.run if line == "all" else shown.search, line)
    page.goto(start)
    tags = {name: state for name, state in states(shown, start).items() if name in offered}
    for name, key in offered.items():
        page.get_by_test_id("saved-views-trigger").click()
        listed = page.locator("[data-testid^=saved-views-item-]")
        expect(listed).to_have_text(list(offered))
        listed.filter(has_text=name).click()
        expect(page.get_by_test_id("saved-views-trigger")).to_have_text(name)
        wanted = [each for each in tags[name]["selectedColumns"] if each in logged(shown, start)]
        assert columns(page) == wanted
        if key:
            values = [float(text.rstrip("…")) for text in column(page, key)]
            assert values == sorted(values)


def states(shown: Shown, start: str) -> dict[str, dict[str, list[str]]]:
    """Name → state of the views of the experiment that an address leads to."""
    tags = shown.site.client.get_experiment(experiment(start)).tags
    found = [json.loads(value) for key, value in tags.items() if key.startswith(views.TAG)]
    return {view["name"]: json.loads(view["state"]) for view in found}


def logged(shown: Shown, start: str) -> set[str]:
    runs = shown.site.client.search_runs([experiment(start)])
    metrics = {f"metrics.`{key}`" for run in runs for key in run.data.metrics}
    return metrics | {f"params.`{key}`" for run in runs for key in run.data.params}


def charts(shown: Shown, view: str) -> str:
    return f"{address(shown.run, 'all').replace(views.LABELS, view)}&compareRunsMode=CHART"


def experiment(start: str) -> str:
    (found,) = re.findall(r"/experiments/(\d+)/", start)
    return str(found)


def test_a_study_s_addresses_show_its_trials_and_winners(shown: Shown, page: Page) -> None:
    page.goto(address(shown.search, "trials"))
    assert len(column(page, "metrics.`valid/error`")) == TRIALS
    for key in ("label_frac", "generator_lr", "discriminator_lr"):
        assert all(float(text.rstrip("…")) > 0 for text in column(page, f"params.`{key}`"))
    page.goto(address(shown.search, "winners"))
    page.locator('[role=columnheader][col-id="metrics.`test/error_low`"]').wait_for()
    assert 1 <= len(column(page, "metrics.`test/error`")) <= TRIALS
    assert all("test of trial" in name for name in column(page, views.NAME))


@pytest.mark.parametrize("title", ["final_samples", "samples"])
def test_the_images_of_four_runs_stand_beside_each_other(
    shown: Shown, browser: Browser, title: str
) -> None:
    # Tall enough for both cards: MLflow draws one only when it comes into sight.
    with new_page(browser, 1600, 1400) as (page, errors):
        page.goto(charts(shown, views.SAMPLES))
        shown_in = card(page, title)
        found = shown_in.locator(".rc-image img")
        expect(found).to_have_count(len(N_LABELS))
        for image in found.all():
            image.scroll_into_view_if_needed()
            expect(image).to_be_in_viewport(ratio=0.95)
            assert image.evaluate("image => image.naturalWidth") >= 200
        # Measured after the last scrolling, which may move them all.
        boxes = [image.bounding_box() for image in found.all()]
        lefts = [box["x"] for box in boxes if box]
        assert lefts == sorted(set(lefts))
        assert max(box["y"] for box in boxes if box) - min(box["y"] for box in boxes if box) < 30
        captions = shown_in.inner_text()
        assert all(f"{n} labels" in captions for n in N_LABELS)
        assert "generator_lr" not in captions
        assert not ours(errors)


def test_charts_show_error_against_labels_and_curves(shown: Shown, page: Page) -> None:
    page.goto(charts(shown, views.LABELS))
    expect(card(page, "n_labels vs. test/error").locator(".scatterlayer .point")).to_have_count(
        len(N_LABELS)
    )
    page.goto(charts(shown, views.CURVES))
    lines = card(page, "train/supervised_loss").locator(".scatterlayer .js-line")
    expect(lines.nth(len(N_LABELS) - 1)).to_be_visible()


def test_the_model_page_shows_measures_parameters_and_signature(shown: Shown, page: Page) -> None:
    there = experiment(address(shown.run, "all"))
    found = shown.site.client.search_logged_models([there])
    (model,) = [m for m in found if m.name == "digits-ssgan-144-labels-classifier"]
    page.goto(f"{shown.site.ui}/#/experiments/{there}/models/{model.model_id}")
    expect(page.get_by_role("heading", name=model.name)).to_be_visible()
    main = page.get_by_role("main")
    for text in ("test/error", "digits (#", "generator_lr", "digits, ssgan, 144 labels, seed 0"):
        expect(main.get_by_text(text).first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).first.click()
    page.get_by_text("MLmodel", exact=True).click()
    expect(page.get_by_text(re.compile(r"signature:")).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"tensor-spec.*uint8")).first).to_be_visible()
