"""docs/sql.md as a reader types it, on a state with a version that was never trained."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.data.catalogue import register
from components.data.ingest import ingest
from components.data.prepare import prepare
from components.data.sql import VERSION_COLUMNS
from components.shared.machine.tracking import tracking_client
from pipelines.running.environment import local_environment

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")


def promises() -> list[tuple[str, str]]:
    """Each command of the page, and what the page says that it prints; '' where it says nothing."""
    pairs = re.findall(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```)?", PAGE, flags=re.DOTALL)
    return [(command.replace("\\\n", ""), printed) for command, printed in pairs]


@pytest.fixture
def state(tmp_path, monkeypatch):
    folder = tmp_path / "state"
    for name, value in local_environment(folder).items():
        monkeypatch.setenv(name, value)
    made = [tmp_path / name for name in ("reviews", "quarantine", "summary", "prepared", "split")]
    done = ingest("sample", *made[:3])
    register(made[0], done.fingerprint, done.source)
    prepare(made[0], *made[3:])
    labels = folder / "feature_store" / "data" / "0123456789ab" / "review_labels.parquet"
    labels.parent.mkdir(parents=True)
    columns = ["review_id", "sentiment", *VERSION_COLUMNS]
    pq.write_table(pq.read_table(made[3], columns=columns), labels)
    tags = {"data_fingerprint": done.fingerprint, "feature_service": "of_0123456789ab"}
    client = tracking_client()
    client.create_registered_model("review-sentiment")
    client.create_model_version("review-sentiment", "runs:/none", tags=tags)
    client.set_registered_model_alias("review-sentiment", "champion", "1")
    for name in local_environment(folder):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.slow
def test_the_page_prints_what_it_says(state, tmp_path):
    venv = Path(sys.executable).parents[1]
    # What make would install is installed, since this runs.
    make = f"make -s -C '{ROOT}' -o '{venv}/.installed' VENV='{venv}' STATE='{state}'"
    assert len(promises()) > 6
    for command, printed in promises():
        line = command.strip().replace("make ", f"{make} ", 1).replace("=out/", f"={tmp_path}/")
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, cwd=ROOT, env=os.environ, timeout=120
        )
        said = (done.stdout + done.stderr).replace(f"{tmp_path}/", "out/")
        # Ends of lines are the width of a terminal.
        if printed and "…" not in printed.splitlines():
            assert said.split() == printed.split(), command
        elif printed:
            for line in printed.splitlines():
                assert line.strip() in {*map(str.strip, said.splitlines()), "…"}, command
        else:
            assert done.returncode == 0, said


def test_every_engine_of_the_page_is_named_as_tried_or_not():
    for engine in ("Trino", "Spark"):
        assert re.search(rf"{engine}[^.]*\bnot run\b|\bnot run\b[^.]*{engine}", PAGE), engine
