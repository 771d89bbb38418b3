"""docs/explanations.md as a reader types it."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from components.serving.server.protocol import MAX_EXPLAINED, texts_to_explain
from pipelines.running import explain
from tests.evaluation.conftest import write_model

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "explanations.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def model(tiny_bert, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("page") / "model", tiny_bert)


def test_the_python_runs(model, monkeypatch, capsys):
    monkeypatch.chdir(model.parent)
    (block,) = blocks("python")
    exec(compile(block, "explanations.md", "exec"), {})
    answer, *words = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"(negative|neutral|positive) 0\.\d+ error \d\.\d%", answer)
    assert len(words) == 3


def test_the_command_explains_the_review_that_is_named(model, monkeypatch, capsys, tmp_path):
    typed = shlex.split(blocks("sh")[0])
    make = [*typed[:1], "-s", "-o", ".venv/.installed", *typed[1:], "EXPLAIN=printf '%s\\n'"]
    words = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    monkeypatch.setattr(explain, "fetched", lambda *_: ("1", model))
    monkeypatch.setattr(explain, "check_databases", lambda _: None)
    monkeypatch.setattr(explain, "local_environment", lambda _: {})
    monkeypatch.chdir(tmp_path)
    explain.main(words.splitlines())
    said = capsys.readouterr().out
    assert "So sad. I wanted to love it" in said
    assert "wanted" in (tmp_path / "why.html").read_text()


def test_the_request_is_one_that_the_server_reads():
    typed = shlex.split(blocks("sh")[1])
    assert typed[1].endswith("/v1/models/review-sentiment:explain")
    body = json.loads(typed[typed.index("-d") + 1])
    assert texts_to_explain(body) == ["So sad. The zipper broke."]
    assert f"at most {MAX_EXPLAINED} reviews at a time" in PAGE


def test_the_extra_that_is_named_holds_what_explanations_import():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = re.search(r"EXTRAS=(\w+)", PAGE)[1]
    libraries = {re.split("[=<>]", one)[0] for one in extras[named]}
    assert libraries >= {"captum", "torch", "transformers", "safetensors"}
