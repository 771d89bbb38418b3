"""The pages of docs/ that hold code, run as a reader would type them."""

import importlib
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import components
from components.shared.machine.errors import UserError
from components.shared.machine.files import read_json
from pipelines.running.environment import local_environment
from pipelines.running.local import run_locally
from pipelines.running.pipeline import pipeline
from pipelines.running.step_settings import _SETTINGS, StepSettings, place

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page: str, heading: str = "", language: str = "python") -> list[str]:
    """The code of a page, or of one of its sections."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if heading:
        text = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def own_environment(monkeypatch, tmp_path):
    for name in local_environment(tmp_path):
        monkeypatch.setenv(name, "")


@pytest.mark.slow
def test_a_notebook_does_what_the_page_says(monkeypatch, tmp_path, tiny_bert, own_environment):
    monkeypatch.chdir(tmp_path)
    changed = {
        'BASE_MODEL = "minilm"': f"BASE_MODEL = {str(tiny_bert)!r}",
        "OPTIONS = {}": 'OPTIONS = {"epochs": 1, "min_steps": 0}',
        "MAX_TOKENS = 160": "MAX_TOKENS = 48",
    }
    names: dict = {}
    for number, block in enumerate(blocks("python.md")):
        for there, here in changed.items():
            assert number or there in block
            block = block.replace(there, here)
        exec(compile(block, f"python.md, block {number + 1}", "exec"), names)
    assert names["judged"]["classes"] == ["negative", "neutral", "positive"]
    assert len(names["champion"].predict(names["pd"].DataFrame({"review_body": ["soft"]}))) == 1


@pytest.mark.slow
def test_another_teams_notebook_reads_labels_as_of_a_time(
    monkeypatch, tmp_path, tiny_bert, own_environment
):
    from components.data.ingest import ingest
    from components.data.prepare import prepare
    from components.features.publish import build_features
    from components.shared.records.resolved_labels import resolved_labels_schema, write_resolved

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATURE_STORE_DIR", str(tmp_path / "state" / "feature_store"))
    Path("feature_repo").symlink_to(DOCS.parent / "feature_repo")
    ingest("sample", *map(Path, ("reviews", "quarantine", "ingest.json")))
    prepare("reviews", "prepared", "prepare.json")
    build_features(Path("prepared"), str(tiny_bert), 48, "d", Path("features"), Path("s.json"))
    review = pq.read_table("prepared").to_pylist()[0]
    row = {**dict.fromkeys(resolved_labels_schema().names), **review, "item_id": "1"}
    row |= {"votes": 3, "agreement": 1.0, "queue": "audit", "inclusion_probability": 1.0}
    row |= {"occurrences": 1, "reason": "majority", "adjudicated": False}
    row = {name: row[name] for name in resolved_labels_schema().names}
    table = pa.Table.from_pylist([row], schema=resolved_labels_schema())
    write_resolved(Path("state", "review", "resolved"), table)
    names: dict = {}
    for block in blocks("feature-store.md"):
        block = block.replace('"5b1cf4f1b1ad4c3f"', repr(review["review_id"]))
        exec(compile(block, "feature-store.md", "exec"), names)
    known, unknown = names["labels"].sort_by([("review_id", "descending")]).to_pylist()
    if known["review_id"] != review["review_id"]:
        known, unknown = unknown, known
    assert (known["sentiment"], known["review_body"]) == (
        *(review["sentiment"], review["review_body"]),
    )
    assert unknown["sentiment"] is unknown["votes"] is None
    assert names["added"].added == 1
    assert Path("training_set").is_file()


def test_a_step_of_ones_own_needs_what_the_page_says(monkeypatch, tmp_path, own_environment):
    function, component, setting, call = blocks("your-own.md", "A step")
    for block in (function, component):
        path = tmp_path / block.split("\n", 1)[0].removeprefix("# ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block, encoding="utf-8")
    monkeypatch.setattr(components, "__path__", [*components.__path__, f"{tmp_path}/components"])
    count_words = importlib.import_module("components.words.component").count_words
    from components.data.component import ingest_reviews, prepare_reviews

    @pipeline(name="words", description="Counts a word.")
    def words_pipeline() -> None:
        read = place(ingest_reviews())
        prepared = place(prepare_reviews(reviews=read.outputs["reviews"]))
        exec(call, {"place": place, "prepared": prepared, "count_words": count_words})

    with pytest.raises(UserError, match=r"count-words has no line in .*step_settings\.py"):
        words_pipeline.trace()
    settings = eval("{" + setting + "}", {"StepSettings": StepSettings})
    for name, line in settings.items():
        monkeypatch.setitem(_SETTINGS, name, line)
    # The room lies outside the checkout here: steps, which are processes, have to find it there.
    there = f"import components\ncomponents.__path__.append({str(tmp_path / 'components')!r})\n"
    (tmp_path / "sitecustomize.py").write_text(there, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{DOCS.parent}")
    done = run_locally(
        words_pipeline, {}, runs=tmp_path / "runs", state=tmp_path / "state", quiet=True
    )
    assert read_json(done.artifact("count-words", "counts"))["negative"] > 0


def test_a_labelling_function_of_ones_own_is_one_file(monkeypatch, tmp_path):
    import pyarrow as pa

    from components.labelling import own, voting
    from components.shared.records.labels import SENTIMENTS

    voting.all_functions()  # those of the project register once in a process
    monkeypatch.setattr(voting, "_registered", dict(voting._registered))
    monkeypatch.setattr(own, "__path__", [str(tmp_path)])
    (block,) = blocks("your-own.md", "A labelling function")
    assert block.startswith("# components/labelling/own/seams.py")
    (tmp_path / "seams.py").write_text(block, encoding="utf-8")
    mine = [one for one in voting.all_functions() if one.name in ("open_seams", "everyone_asks")]
    assert next(one.about for one in mine) == "A seam that gave way."
    reviews = pa.table({"text": ["A seam opened", "Compliments, compliments", "A gift", None]})
    found = voting.label_matrix(reviews, mine, SENTIMENTS)
    assert found.tolist() == [[0, -1], [-1, 2], [-1, -1], [-1, -1]]
