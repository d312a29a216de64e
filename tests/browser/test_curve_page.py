"""The report on a label curve, opened as a file in a browser without a network."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from experiments.curve import report
from tests.curve.cells import table

pytestmark = pytest.mark.browser

GAINS = {"supervised": 1.0, "fixmatch": 0.8, "ssgan": 0.6}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    answer = report.answer(table(5, gains=GAINS), "supervised", report.About("digits <b>$x$"))
    written = tmp_path_factory.mktemp("report") / "report.html"
    written.write_text(report.html(answer), encoding="utf-8")
    return written


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_is_whole_without_a_network(
    browser: Browser, file: Path, scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        offline=True,
    )
    page, errors, asked = context.new_page(), [], []
    page.on("console", lambda said: errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    assert page.locator("h1").inner_text().startswith("digits <b>$x$: how far")
    seen = "images => images.every(image => image.complete && image.naturalWidth > 100)"
    assert page.locator("img").evaluate_all(seen)
    assert page.locator("img").count() == 3
    # Nothing sticks out: wide tables move within their own frame.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for place in ("body", ".answer", "caption >> nth=0", "td >> nth=0"):
        assert contrast(page.locator(place)) >= 7, place
    assert not errors
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    context.close()


def test_it_is_readable_when_printed(browser: Browser, file: Path) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(file.as_uri())
    page.emulate_media(media="print")
    assert page.locator("body").evaluate("e => getComputedStyle(e).color") == "rgb(0, 0, 0)"
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    context.close()


def contrast(place) -> float:  # type: ignore[no-untyped-def]
    """WCAG contrast of an element's text with the page or box behind it."""
    colours = place.evaluate(
        """e => {
            const text = getComputedStyle(e).color;
            let behind = 'rgba(0, 0, 0, 0)';
            for (let at = e; at && behind === 'rgba(0, 0, 0, 0)'; at = at.parentElement)
                behind = getComputedStyle(at).backgroundColor;
            return [text, behind].map(c => c.match(/[0-9.]+/g).slice(0, 3).map(Number));
        }"""
    )

    def luminance(colour: list[float]) -> float:
        parts = [c / 255 for c in colour]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted(map(luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)
