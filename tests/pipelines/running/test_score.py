import json

import pyarrow.parquet as pq
import pytest

from components.shared.machine.errors import UserError
from pipelines.running import score
from tests.evaluation.conftest import write_model

pytestmark = pytest.mark.usefixtures("plain_environment")


@pytest.fixture
def command(tmp_path, tiny_bert, monkeypatch):
    """Runs the command on a CSV of the rows, with version 3 as the champion; None makes no file."""
    model = write_model(tmp_path / "model", tiny_bert)

    def fetched(name, version, state):
        if version not in ("champion", "3"):
            raise UserError(f"{name} has no version {version}")
        return "3", model

    monkeypatch.setattr(score, "fetched", fetched)
    monkeypatch.chdir(tmp_path)

    def run(rows, *words):
        if rows:
            (tmp_path / "in.csv").write_text("comment\n" + "\n".join(rows) + "\n")
        score.main(["in.csv", "--state", str(tmp_path / "state"), "--engine", "torch", *words])
        return tmp_path / "predictions" / "in"

    return run


NAMED = ("--columns", "review_body=comment")


def test_a_strangers_table_is_scored_and_the_command_says_what_came_of_it(command, capsys):
    folder = command(["lovely soft dress", " ", *["awful itchy top"] * 8], *NAMED)
    said = capsys.readouterr().out
    assert "9 reviews scored by version 3 of review-sentiment (torch)" in said
    assert "1 rows could not be scored: predictions/in/_quarantine.parquet" in said
    rows = pq.read_table(folder).to_pylist()
    assert [row["line"] for row in rows] == [2, *range(4, 12)]
    assert {row["model_version"] for row in rows} == {"3"}
    assert json.loads((folder / "_summary.json").read_text())["reviews"] == 9
    assert not (folder / ".reviews.parquet").exists()


def test_once_more_it_has_nothing_to_do_and_other_reviews_are_refused(command, capsys):
    folder = command(["lovely"], *NAMED)
    before = {path: path.read_bytes() for path in folder.glob("part-*")}
    command(None, *NAMED)
    assert "reviews/s" not in capsys.readouterr().out.rpartition("\n\n")[2]
    with pytest.raises(SystemExit, match="2"):
        command(["lovely", "awful"], *NAMED)
    assert "predictions of 1 other reviews than these 2; name another" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in folder.glob("part-*")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COLUMNS='review_body=comment'"),
        ([*NAMED, "--version", "9"], "review-sentiment has no version 9"),
        ([*NAMED, "--output", "s3://bucket/x"], "s3://bucket/x is an address"),
    ],
)
def test_what_cannot_be_is_one_sentence(command, capsys, words, said):
    with pytest.raises(SystemExit, match="2"):
        command(["lovely"], *words)
    assert said in capsys.readouterr().err
