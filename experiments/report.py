"""What a study and a curve say on the terminal."""

from rich.console import Console
from rich.table import Table

from experiments.curve.writing import Given
from experiments.search.answer import Answer, columns, failures, headline, next_command, table
from pipeline.errors import RunFailure

WIDTH = 110  # of a table that goes into a file


def show(answer: Answer) -> None:
    """Print the table of the recommended trials and the next commands to type.

    Raises:
        RunFailure: there is none: no trial was completed.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(headline(answer))
    for line in failures(answer):
        console.print(line)
    if not answer.points:
        raise RunFailure(
            f"study {answer.study}: no trial was completed; the run says more: {answer.address}."
        )
    shown = Table()
    for column in columns(answer):
        shown.add_column(column, justify="left" if column == "method" else "right")
    for row in table(answer):
        shown.add_row(*row)
    console.print(shown)
    console.print(
        f"files   {answer.folder}/\nrun     {answer.address}\ntrials  {answer.trials}\n"
        f"winners {answer.winners}\nnext    {next_command(answer)}"
    )


def show_curve(given: Given) -> None:
    """Print a curve's answer, its own sentence first, and where the whole of it lies."""
    for line in given.lines:
        print(line)
    print(f"report  {given.page}\nfiles   {given.files}/\nrun     {given.address}")
