"""The pictures of the UI in docs/images, from runs at their usual length: `make screenshots`."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect

from pipeline.tracking import views
from tests.browser.site import ROOT, Site, address, browser, card, new_page, settled

IMAGES = ROOT / "docs" / "images"
RUN = ("pipeline", "run")
# Two lanes of runs beside each other; fixmatch draws no images.
LANES = [
    [
        (*RUN, "--label_frac", "0.02"),
        (*RUN, "--label_frac", "0.3"),
        (*RUN, "--label_frac", "0.1", "--method", "fixmatch"),
    ],
    [(*RUN, "--label_frac", "0.1"), (*RUN, "--label_frac", "0.1", "--method", "sgan")],
]
SEARCH = ("experiments", "search", "--study", "digits-pareto", "--trials", "10", "--workers", "2")
SEARCH += ("--steps", "600")
MODEL = "digits-ssgan-144-labels-classifier"


def main(folder: Path) -> None:
    """Make the runs in an empty folder, or use those of an earlier call, and take the pictures."""
    site = Site(folder)
    if not (folder / "search.txt").exists():
        said = site.commands(LANES)
        (folder / "run.txt").write_text(said[0][0])
        (folder / "search.txt").write_text(site.command(*SEARCH))
    runs = view(site, (folder / "run.txt").read_text(), "all")
    trials = view(site, (folder / "search.txt").read_text(), "trials")
    models = site.client.search_logged_models([runs.split("/")[5]])
    (model,) = [model for model in models if model.name == MODEL]
    IMAGES.mkdir(parents=True, exist_ok=True)
    charts = "&compareRunsMode=CHART"
    with site.served(), browser() as chromium:
        with new_page(chromium, 1420, 520) as (page, _):
            shown(page, runs)
            page.locator("[role=gridcell]").first.wait_for()
            take(page, "ui_comparison")
        with new_page(chromium, 1420, 860) as (page, _):
            shown(page, runs.replace(views.LABELS, views.SAMPLES) + charts)
            expect(card(page, "final_samples").locator(".rc-image img")).to_have_count(4)
            take(page, "ui_samples")
        with new_page(chromium, 1420, 900) as (page, _):
            shown(page, trials + charts)
            card(page, "n_labels vs. valid/error").locator(".scatterlayer .point").first.wait_for()
            take(page, "ui_study")
        with new_page(chromium, 1420, 820) as (page, _):
            page.goto(f"{runs.split('/runs')[0]}/models/{model.model_id}?{runs.split('&')[-1]}")
            expect(page.get_by_text("test/error", exact=True)).to_be_visible()
            take(page, "ui_model")


def view(site: Site, said: str, name: str) -> str:
    """A printed address, on the port of today's server."""
    return site.ui + "/#" + address(said, name).partition("/#")[2]


def shown(page: Page, start: str) -> None:
    """Open a view without its notice, which tells nothing of the runs."""
    page.goto(start)
    page.get_by_role("button", name="Toggle sidebar").click()
    notice = page.get_by_text("You're viewing a shared view")
    notice.wait_for()
    notice.locator("xpath=ancestor::*[@role='alert'][1]").get_by_role("button").last.click()
    notice.wait_for(state="hidden")


def take(page: Page, name: str) -> None:
    settled(page)
    page.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
