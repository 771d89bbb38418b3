"""The page of a search among candidates: who wins, by how much, and what was not begun."""

from pathlib import Path

from components.report.charts import Axis
from components.report.formats import sentence
from components.report.interval_chart import IntervalRow, interval_chart
from components.report.page import Headline, write_page
from components.shared.machine.files import read_json


def write_leaderboard_page(leaderboard_json: str | Path, output: str | Path) -> None:
    """Write the page from what the comparison of the candidates wrote.

    That is winner, sentence, validation rows, and of each candidate what was tried; of those that
    finished scores with intervals, the distance to the best, cost, and the command.
    """
    board = read_json(leaderboard_json)
    finished = [row for row in board["rows"] if row["status"] == "finished"]
    best = finished[0]["scores"]["macro_f1"]["value"]
    write_page(
        "leaderboard_page.html",
        output,
        Headline("good", f"{board['winner']} wins", sentence(board["sentence"])),
        board=board,
        finished=finished,
        others=[row for row in board["rows"] if row["status"] != "finished"],
        trials=sum(len(row["trials"]) for row in board["rows"]),
        seconds=sum(row["seconds"] for row in board["rows"]),
        scores=interval_chart(
            "Macro-F1 of the candidates on validation",
            [_row(row, row["scores"]["macro_f1"], board["winner"]) for row in finished],
            Axis("macro-F1"),
            reference=best,
        ),
        behind=interval_chart(
            "How far each candidate is behind the best",
            [_row(row, row["behind"], board["winner"]) for row in finished],
            Axis("macro-F1 behind the best"),
            reference=0.0,
        ),
    )


def _row(row: dict, estimate: dict, winner: str) -> IntervalRow:
    """A candidate's line of a chart; the winner's has the colour of what is good."""
    ends = (estimate["value"], estimate["low"], estimate["high"])
    return IntervalRow(row["name"], *ends, colour="positive" if row["name"] == winner else "accent")
