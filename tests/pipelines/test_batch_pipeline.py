"""The batch pipeline whole, on one machine, by a version of a real registry."""

import pyarrow.parquet as pq
import pytest

from components.shared.machine.files import read_json
from pipelines.batch import batch_pipeline
from pipelines.running.environment import local_environment
from pipelines.running.local import StepFailed, run_locally
from tests.pipelines.running.test_explain import state  # noqa: F401 - its registry has a version 1

pytestmark = pytest.mark.slow


@pytest.fixture
def run(request, tmp_path, monkeypatch):
    kept = request.getfixturevalue("state")
    for name in local_environment(kept):
        monkeypatch.setenv(name, "")
    reviews = ["lovely soft dress", "", *["awful itchy top"] * 8]
    source = tmp_path / "in.csv"
    source.write_text("comment,note\n" + "".join(f"{text},x\n" for text in reviews))
    given = {"data_uri": str(source), "columns": "review_body=comment", "nodes": 3}

    def once(**changes):
        return run_locally(
            batch_pipeline, given | changes, runs=tmp_path / "runs", state=kept, quiet=True
        )

    return once


def test_every_review_with_a_text_is_answered_by_the_champion(run):
    done = run()
    rows = pq.read_table(done.artifact("score-reviews", "predictions")).to_pylist()
    assert [row["line"] for row in rows] == [2, *range(4, 12)]
    assert {row["model_version"] for row in rows} == {"1"}
    summary = read_json(done.artifact("score-reviews", "scoring_summary"))
    assert (summary["reviews"], summary["engine"]) == (9, "torch")
    (rejected,) = pq.read_table(done.artifact("read-unlabelled", "quarantine")).to_pylist()
    assert rejected["line"] == 3


def test_a_version_that_is_not_there_is_named(run):
    with pytest.raises(
        StepFailed, match=r"step fetch-version failed: .*has no version '9'"
    ) as raised:
        run(version="9")
    assert raised.value.exit_code == 2
