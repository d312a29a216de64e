"""One small store for the session, served by `python -m pipeline ui`, and one browser."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import site as sites
from tests.browser.site import Site

SHORT = ("--steps", "60", "--report_every", "20")
RUN = ("pipeline", "run", *SHORT)
ALONE = ("--baseline", "false")
# Two runs after each other, beside two others: what they are told by.
LANES = [
    [(*RUN, "--label_frac", "0.02"), (*RUN, *ALONE, "--method", "sgan", "--label_frac", "0.8")],
    [
        (*RUN, *ALONE, "--label_frac", "0.1"),
        (*RUN, *ALONE, "--method", "feature_matching", "--label_frac", "0.3"),
    ],
]
N_LABELS = (29, 144, 431, 1150)
TRIALS = 2
SEARCH = ("experiments", "search", "--study", "small", "--trials", str(TRIALS), "--workers", "1")
SEARCH += ("--steps", "40", "--report_every", "20", "--valid_labels", "60")


@dataclass(frozen=True)
class Shown:
    """A site that is served, and what the commands that made it have said."""

    site: Site
    run: str
    search: str
    ui: str


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if sites.chromium() is None:
        pytest.skip("Chromium is missing: .ci/browser installs Debian's")
    with sites.browser() as started:
        yield started


@pytest.fixture(scope="session")
def shown(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:

    site = Site(tmp_path_factory.mktemp("site"))
    said = site.commands(LANES)
    search = site.command(*SEARCH)
    with site.served() as ui:
        yield Shown(site, said[0][0], search, ui)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A visitor's page, wide enough for every column; no error of ours may be told on it."""
    with sites.new_page(browser, 3000, 900) as (page, errors):
        yield page
        assert not sites.ours(errors)
