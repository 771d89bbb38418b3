"""The AutoML pipeline whole, on the bundled reviews, and the winner behind a model server."""

import pytest

from components.automl.candidates import all_candidates
from components.deployment.local.model_process import ModelProcess, ServedModel
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from components.shared.records.model_folder import check_model_folder, kind_of
from components.shared.records.open_inference import infer_path, infer_request, text_in
from pipelines.automl import automl_pipeline
from pipelines.running.local import run_locally


@pytest.fixture
def run_here(tmp_path, tiny_bert, monkeypatch):
    monkeypatch.setenv("CANDIDATES_AT_ONCE", "1")

    def run(**changes):
        parameters = {"base_model": str(tiny_bert), "max_tokens": 32, "max_seconds": 900.0}
        parameters |= {"accuracy_threshold": 0.5, "macro_f1_threshold": 0.3}
        folders = {"runs": tmp_path / "runs", "state": tmp_path / "state"}
        return run_locally(automl_pipeline, parameters | changes, quiet=True, **folders)

    return run


@pytest.mark.slow
def test_the_winner_is_registered_and_serves(run_here, tmp_path):
    import httpx

    run = run_here(max_candidates=6)
    board = read_json(run.artifact("compare-candidates", "leaderboard_summary"))
    assert {row["name"] for row in board["rows"]} == set(all_candidates())
    assert board["winner"] in ("linear", "fasttext")  # a random encoder tells little apart
    assert sum(len(row["trials"]) for row in board["rows"]) == 6
    assert "wins" in run.artifact("compare-candidates", "leaderboard_page").read_text()
    assert run.artifact("check-deployment", "deployment_check")
    folder = check_model_folder(run.artifact("register-model", "registered"))
    assert kind_of(folder) == "sparse"

    server = ModelProcess.start(ServedModel("reviews", str(folder), "1"), tmp_path)
    try:
        server.wait_until_ready(120)
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            asked = infer_request(None, "Terrible quality, it ripped at once and I sent it back.")
            answer = client.post(infer_path("reviews"), json=asked)
        assert text_in(answer.content, "label") in ("negative", "neutral", "positive")
    finally:
        server.kill()


@pytest.mark.slow
def test_a_table_of_other_columns_and_classes(run_here, tmp_path):
    rows = ["message,verdict,number"]
    words = {"spam": "cheap pills for you", "ham": "see you at the meeting"}
    for number in range(200):
        kind = ("spam", "ham")[number % 2]
        rows.append(f"note {number} says {words[kind]},{kind},{number}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    run = run_here(data_uri=str(tmp_path / "table.csv"), max_candidates=2, model_name="messages")
    problem = read_json(run.artifact("find-problem", "problem"))
    assert problem["columns"] == "review_body=message sentiment=verdict"
    assert problem["labels"] == "ham spam"
    assert run.artifact("register-model", "registration")
    evaluation = read_json(run.artifact("evaluate-classifier", "evaluation_summary"))
    assert evaluation["classes"] == ["ham", "spam"]
    assert evaluation["macro_f1"] == 1.0


@pytest.mark.slow
def test_a_budget_of_one_second_says_what_it_would_take(run_here):
    with pytest.raises(UserError, match=r"compare-candidates .*no candidate fits.*MINUTES=20"):
        run_here(max_seconds=1.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (["nice and soft dress here,1"], "find-problem .*holds 1 classes"),
        (["a dress here,1", "a top there,2"] * 2, "prepare-reviews .*at least 10 of each class"),
        ([f"word number {n} here,{n / 7:.3f}" for n in range(60)], "different numbers"),
        ([f"{n},{n % 2}" for n in range(60)], "has no text column"),
    ],
)
def test_what_cannot_be_learned_ends_the_run_in_one_sentence(run_here, tmp_path, rows, why):
    (tmp_path / "table.csv").write_text("\n".join(["message,label", *rows]) + "\n")
    with pytest.raises(UserError, match=why):
        run_here(data_uri=str(tmp_path / "table.csv"))
