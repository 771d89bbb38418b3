import re
import socket

import pytest

from pipelines.running import lookup, serve, ui

pytestmark = pytest.mark.usefixtures("plain_environment", "champion")


def test_serve_says_how_to_ask_the_port_that_it_takes(became, capsys, tmp_path):
    serve.main(["--model-name", "sentiment-fr", "--state", str(tmp_path), "--port", "0"])
    said = capsys.readouterr().out
    port = re.search(r"http://localhost:(\d+)/v1/models/sentiment-fr:predict", said)[1]
    assert "serving sentiment-fr version 3" in said
    (words,) = became
    assert words[words.index("--http-port") + 1] == port != "0"


def test_without_a_champion_the_hint_trains_this_model_in_this_state(became, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        serve.main(["--model-name", "other", "--state", str(tmp_path), "--port", "0"])
    assert f"`make run MODEL_NAME=other STATE={tmp_path}` trains one" in capsys.readouterr().err
    assert not became


@pytest.mark.parametrize(("name", "words"), [("sentiment-fr", ["features_3"]), ("other", [])])
def test_a_lookup_reads_what_the_champion_was_trained_on(monkeypatch, tmp_path, name, words):
    asked = []
    monkeypatch.setattr(lookup, "look_up", asked.append)
    lookup.main(["r1", "--model-name", name, "--state", str(tmp_path)])
    assert asked == [["lookup", "r1", *(["--feature-service"] if words else []), *words]]


@pytest.mark.parametrize("command", [serve.main, ui.main])
@pytest.mark.parametrize("wrong", ["port out of range", "port taken", "state is a file", "damaged"])
def test_what_cannot_be_is_one_sentence_before_anything_starts(
    became, capsys, tmp_path, command, wrong
):
    words = {"state": str(tmp_path), "port": "0"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        if wrong == "port out of range":
            words["port"] = "70000"
        elif wrong == "port taken":
            words["port"] = str(taken.getsockname()[1])
        elif wrong == "state is a file":
            (tmp_path / "file").touch()
            words["state"] = str(tmp_path / "file")
        else:
            (tmp_path / "mlflow").mkdir()
            (tmp_path / "mlflow" / "mlflow.db").write_bytes(b"no database " * 500)
        with pytest.raises(SystemExit, match="2"):
            command([f"--{name}={value}" for name, value in words.items()])
    last = capsys.readouterr().err.splitlines()[-1]
    expected = {
        "port out of range": "'70000' is not a port; give a number from 0 to 65535",
        "port taken": "cannot listen on 127.0.0.1 port",
        "state is a file": "a file stands where a folder is wanted",
        "damaged": "mlflow.db cannot be used (file is not a database)",
    }
    assert expected[wrong] in last
    assert not became
