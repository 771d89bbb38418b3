import json

import pytest

from components.serving.batch import shard, step
from components.serving.component import score_reviews
from components.shared.machine.files import read_json
from tests.serving.batch.conftest import scored


class Artifact:
    def __init__(self, path):
        self.path, self.metadata, self.metrics = str(path), {}, {}

    def log_metric(self, name, value):
        self.metrics[name] = value


@pytest.fixture
def run(reviews, served_folder, tmp_path, monkeypatch):
    """Runs the component; what is done outlives it below `kept`."""
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "kept"))

    def once():
        made = {name: Artifact(tmp_path / "run" / name) for name in ("predictions", "summary")}
        metrics = Artifact("")
        score_reviews.python_func(
            reviews=Artifact(reviews),
            model=Artifact(served_folder),
            model_name="sentiment",
            version="3",
            predictions=made["predictions"],
            scoring_summary=made["summary"],
            metrics=metrics,
            engine="torch",
        )
        return made["predictions"], made["summary"], metrics.metrics

    return once


def test_the_step_hands_over_the_parts_and_its_figures(run, tmp_path):
    predictions, summary, metrics = run()
    rows = scored(predictions.path)
    assert [row["line"] for row in rows] == list(range(2, 102))
    assert predictions.metadata["rows"] == metrics["reviews"] == 100
    assert predictions.metadata["model_version"] == "3"
    shares = [value for name, value in metrics.items() if name.startswith("share_")]
    assert sum(shares) == pytest.approx(1)
    assert json.loads(json.dumps(metrics))["truncated"] == read_json(summary.path)["truncated"]
    assert not list((tmp_path / "kept").iterdir())


def test_a_step_that_was_killed_leaves_its_shards_to_the_next_try(run, tmp_path, monkeypatch):
    handed_over, scorer = step.replaced_when_whole, shard.ShardScorer.score_shard
    monkeypatch.setattr(step, "replaced_when_whole", lambda _: exec("raise MemoryError"))
    with pytest.raises(MemoryError):
        run()
    monkeypatch.setattr(step, "replaced_when_whole", handed_over)
    monkeypatch.setattr(shard.ShardScorer, "score_shard", lambda *_: exec("raise MemoryError"))
    predictions, summary, _ = run()
    assert len(scored(predictions.path)) == 100
    assert read_json(summary.path)["shards_before"] == 7
    assert scorer
