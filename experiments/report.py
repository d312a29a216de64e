"""What a study says on the terminal."""

from rich.console import Console
from rich.table import Table

from experiments.search.answer import COLUMNS, Answer, headline, next_command, table


def show(answer: Answer) -> None:
    """Print the table of the recommended trials and the next commands to type."""
    console = Console(highlight=False, soft_wrap=True)
    shown = Table(title=headline(answer), title_justify="left")
    for column in COLUMNS:
        right = column not in ("method", "searched")
        shown.add_column(column, justify="right" if right else "left")
    for row in table(answer):
        shown.add_row(*row)
    console.print(shown)
    if answer.points:
        console.print(
            f"files {answer.folder}/\nrun   {answer.address}\nnext  {next_command(answer)}"
        )
    else:
        console.print(f"no trial was completed; run {answer.address} shows why.")
