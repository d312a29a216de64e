"""An answer on a table of cells."""

import pytest

from experiments.curve import report
from experiments.curve.report import About
from tests.curve.cells import table
from tests.curve.parsed import NASTY, sheet


@pytest.fixture(scope="module")
def given():
    about = About(
        NASTY,
        "d1",
        "c1",
        {"tensorflow": "2.21.0"},
        "python -m experiments curve --dataset '<b>'",
        5000,
        ["vat at 1,000 labels: the time was spent."],
        {("ssgan", 20): sheet(), ("ssgan", 100): sheet()},
    )
    return report.answer(table(), "supervised", about)
