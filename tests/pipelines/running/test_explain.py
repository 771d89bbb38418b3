import math
import re
import subprocess

import pyarrow as pa
import pytest

from components.shared.machine.files import write_json, write_parquet
from components.shared.records.explanation import Explanation, Word
from components.shared.records.reviews import predictions_schema
from pipelines.running import explain
from pipelines.running.environment import PROJECT, local_environment
from tests.evaluation.conftest import write_model

REVIEW = "I love it, but <b>awful</b> & very itchy"
ESCAPE = "\x1b["


@pytest.fixture(scope="module")
def state(tmp_path_factory, tiny_bert):
    """A state folder whose registry holds one version, the champion."""
    from components.registry.registration import register
    from components.registry.versions import promote

    folder = tmp_path_factory.mktemp("explain")
    write_json(folder / "summary.json", {"accuracy": 0.87, "macro_f1": 0.71})
    row = {"review_id": "r1", "review_body": "lovely", "sentiment": 1, "predicted": 1}
    row |= {"label": "positive", "p_negative": 0.1, "p_neutral": 0.2, "p_positive": 0.7}
    write_parquet(folder / "predictions", pa.Table.from_pylist([row], schema=predictions_schema()))
    inputs = write_model(folder / "model", tiny_bert), {"evaluation": folder / "summary.json"}
    state = folder / "state"
    (state / "mlflow").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in local_environment(state):
            patch.setenv(name, "")
        for name, value in local_environment(state).items():
            patch.setenv(name, value)
        version = register(
            *inputs,
            folder / "predictions",
            folder / "registration.json",
            model_name="review-sentiment",
            approval="auto",
            facts={"pipeline_run": "run-1"},
        ).version
        promote("review-sentiment", version)
    return state


def test_a_sparse_model_is_explained_by_its_own_way(
    tmp_path, monkeypatch, capsys, plain_environment
):
    from components.automl.candidates import all_candidates
    from components.automl.task import read_task
    from tests.automl.conftest import write_prepared

    task = read_task(write_prepared(tmp_path / "prepared"), "", "", {})
    candidate = all_candidates()["linear"]
    candidate.fit(task, candidate.first, 1, math.inf, tmp_path / "model")
    monkeypatch.setattr(explain, "fetched", lambda *_: ("2", tmp_path / "model"))
    explain.main(["--text", "an awful, itchy dress", "--state", str(tmp_path / "state")])
    said = capsys.readouterr().out
    assert "version 2 of review-sentiment answers negative" in said
    assert re.search(r"speaks for negative.*\n\+\d\.\d+  (awful,|itchy)", said)
    assert "by words left out and by themselves" in said


@pytest.fixture
def run(state, capsys, plain_environment):
    """What the command prints: output, errors and its exit code."""

    def call(*words):
        code = 0
        try:
            explain.main([*words, "--state", str(state)])
        except SystemExit as left:
            code = left.code
        said = capsys.readouterr()
        return said.out, said.err, code

    return call


def test_it_prints_the_answer_the_words_and_how_far_they_add_up(run, state, tmp_path):
    page = tmp_path / "why.html"
    said, _, code = run("--text", REVIEW, "--title", "Hm", "--output", str(page))
    assert code == 0
    head, _, text, *_ = said.splitlines()
    answer = r"version 1 of review-sentiment answers \w+, [\d.]+% \(\w+ [\d.]+%, \w+ [\d.]+%\)"
    assert re.fullmatch(answer, head)
    assert text == f"Hm. {REVIEW}"
    assert re.search(r"but for 0\.\d% \(error of completeness\)", said)
    assert ESCAPE not in said, "no colours where nobody looks at them"
    assert "&lt;b&gt;awful&lt;/b&gt;" in page.read_text()


def test_a_copy_that_was_changed_is_fetched_again(run, state):
    first = run("--text", REVIEW)
    weights = state / "explained" / "review-sentiment" / "1" / "model.safetensors"
    there = weights.stat().st_mtime_ns
    assert run("--text", REVIEW) == first
    assert weights.stat().st_mtime_ns == there
    weights.write_bytes(b"changed")
    assert run("--text", REVIEW) == first


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", " \n"], "there is no review to explain; give one: make explain TEXT="),
        (["--text", "a", "--version", "9"], "has no version '9'; it has versions 1"),
        (["--text", "a", "--model-name", "other"], "`make run MODEL_NAME=other"),
        (["--text", "a", "--output", "/"], "/ is a folder; name the HTML file"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(run, words, said):
    _, error, code = run(*words)
    assert said in error
    assert (code, error.count("\n")) == (2, 1)


def explanation(*words, unread=""):
    told = tuple(Word(*one) for one in words)
    return Explanation("good", 1, {"bad": 0.25, "good": 0.75}, told, unread, 0.004, 0.5)


def test_colours_say_side_and_strength():
    told = explanation(("lovely", 1.0), ("thin", -0.5), ("soft", 0.2), ("the", 0.01))
    text = explain.in_words(told, "it", colours=True).splitlines()[2]
    painted = re.findall(r"\x1b\[(\S+?)m(\w+)\x1b\[0m", text)
    strong, weak = explain._COLOURS[True][2], explain._COLOURS[True][0]
    expected = [(strong, "lovely"), (explain._COLOURS[False][1], "thin"), (weak, "soft")]
    assert painted == expected
    assert text.endswith(" the")


def test_words_are_listed_by_side_the_strongest_first():
    said = explain.in_words(explanation(("a", 0.1), ("b", 0.4), ("c", -2.0)), "it", colours=False)
    assert re.search(r"\+0\.400  b +-2\.000  c\n\+0\.100  a\n", said)


def test_a_text_without_effect_and_one_that_is_cut_are_told_too():
    still = explain.in_words(explanation(("a", 0.0), ("很", 0.0, True)), "it", colours=True)
    assert still.splitlines()[2] == "a很"
    cut = explain.in_words(explanation(("a", 1.0), unread="and more"), "it", colours=False)
    assert "[not read, the review is longer than the model reads: and more]" in cut


@pytest.mark.parametrize(("terminal", "no_color", "colours"), [(1, "", 1), (1, "1", 0), (0, "", 0)])
def test_colours_are_for_terminals_of_those_who_want_them(monkeypatch, terminal, no_color, colours):
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr("sys.stdout.isatty", lambda: bool(terminal), raising=False)
    assert explain._colours() is bool(colours)


def test_make_hands_a_review_over_as_it_was_typed():
    review = """it's $5 "off", `not` $(worth) it -- really"""
    make = ["make", "-s", "-o", ".venv/.installed", "explain", f"TEXT={review}", "TITLE=so $x"]
    shown = ["EXPLAIN=printf '%s\\n'", "VERSION=2"]
    said = subprocess.run([*make, *shown], cwd=PROJECT, capture_output=True, text=True, check=True)
    words = said.stdout.splitlines()
    assert words[:4] == [f"--text={review}", "--title=so $x", "--version", "2"]
