"""The report's page and Markdown: one file, safe text, readable."""

import pytest
from markdown_it import MarkdownIt

from experiments.curve import report
from experiments.curve.report import About
from tests.curve.cells import table
from tests.curve.parsed import NASTY, Page, sheet


@pytest.fixture(scope="module")
def page(given):
    text = report.html(given)
    found = Page(text)
    assert not found.open
    return text, found


def test_the_page_is_one_file_that_fetches_nothing(page):
    text, found = page
    assert len(text) < 5_000_000
    assert not found.all("script")
    sources = [attrs.get("src") or attrs.get("href") for _, attrs in found.tags]
    assert all(source.startswith("data:") for source in sources if source)
    assert "@import" not in text
    assert "url(" not in text
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)


def test_what_users_wrote_stays_text(page):
    text, found = page
    assert "<script" not in text
    assert any(NASTY in part for part in found.text)
    assert any("--dataset '<b>'" in part for part in found.text)


def test_the_page_can_be_read_without_eyes(page):
    _, found = page
    assert found.all("html")[0]["lang"] == "en"
    images = found.all("img")
    assert len(images) == 3 + 2  # error, two measures of samples, two sheets
    assert all(len(attrs["alt"]) > 20 for attrs in images)
    assert "supervised: 3" in images[0]["alt"]
    heads = found.all("th")
    assert {attrs["scope"] for attrs in heads} == {"col", "row"}
    assert len(found.all("caption")) == 7
    assert len(found.all("h1")) == 1


def test_the_page_says_what_was_run_what_is_weak_and_what_is_missing(page):
    text = " ".join(page[1].text)
    for part in ("d1", "c1", "tensorflow 2.21.0", "5,000", "the time was spent", "by number of"):
        assert part in text
    assert "medians stand for means" in text
    assert "all is forecast" in text


def test_large_sheets_are_made_smaller(given):
    sheets = {("ssgan", n): sheet(900, noise=True) for n in (20, 50, 100, 200)}
    about = About("digits", sheets=sheets)
    text = report.html(report.answer(table(), "supervised", about))
    assert len(text) < 5_000_000
    assert len(Page(text).all("img")) == 3 + 4


def test_markdown_is_read_as_it_was_meant(given):
    text = report.markdown(given)
    html = MarkdownIt("commonmark").enable("table").render(text)
    found = Page(html)
    assert not found.all("script")
    assert not found.all("a")
    assert len(found.all("table")) == 7
    assert any("<script>alert" in part for part in found.text)
    assert not found.all("em")
    assert any("_a_ __b__ &lt;" in part for part in found.text)
    cells = [len(line.split("|")) for line in text.splitlines() if line.startswith("| ssgan, 100")]
    assert cells[0] == 8  # six cells between bars


def test_the_same_cells_give_the_same_page(given):
    again = report.answer(table().sample(frac=1, random_state=1), "supervised", given.about)
    assert report.html(again) == report.html(given)
