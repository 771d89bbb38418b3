"""A site of this machine, a registry and models of made-up reviews, for pipelines that serve."""

import json
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from components.deployment.local.service_file import ServiceFile
from components.deployment.local.traffic import Load, background_traffic
from components.registry.registration import register
from components.registry.versions import list_versions
from components.shared.machine.files import read_json, write_json, write_parquet
from components.shared.records.reviews import predictions_schema
from pipelines.running.environment import local_environment
from pipelines.running.local import run_locally
from tests.deployment.conftest import until
from tests.pipelines.made_up_model import made_up_reviews, trained

MODEL = "review-sentiment"


@dataclass
class SmallSite:
    """A site and a registry, with the models `good` and `shuffled` (trained on shuffled labels)."""

    home: Path
    file: ServiceFile

    def register(self, model, **fault):
        """A new version in the registry; served with a fault, if any (see `faulty_server`)."""
        write_json(self.home / "summary.json", {"accuracy": 0.9, "macro_f1": 0.9})
        summaries = {"evaluation": self.home / "summary.json"}
        files = (self.home / "predictions.parquet", self.home / "registration.json")
        options = {"model_name": MODEL, "approval": "auto"}
        facts = {"pipeline_run": f"run-{time.time_ns()}"}
        version = register(self.home / model, summaries, *files, **options, facts=facts).version
        faults = self.home / "faults.json"
        write_json(faults, {**read_json(faults), version: fault})
        return version

    def run(self, pipeline, version, **parameters):
        """Run a pipeline with a version; what its step wrote, and the report."""
        given, places = {"version": version, **parameters}, {"runs": self.home / "runs"}
        run = run_locally(pipeline, given, **places, state=self.home / "state", quiet=True)
        (report,) = (path for path in run.folder.glob("*/report") if path.parent.name in STEPS)
        written = report.parent / STEPS[report.parent.name]
        return json.loads(written.read_text()), report.read_text()

    def traffic(self, rate):
        reviews = [(None, text) for text, _ in made_up_reviews(500, seed=2)]
        # On a busy machine answers take long, and none is to count as lost for that.
        return background_traffic(Load(self.file.url, reviews, rate, timeout_seconds=120))

    def stable(self):
        state = self.file.state()
        assert state.canary is None
        assert list(self.file.addresses()) == [state.stable]
        return state.stable

    def percent_of(self, version):
        """A version's share of the traffic; 0 where it is not ready."""
        shown = self.file.in_effect().versions.get(version)
        return shown.percent if shown and shown.port else 0


STEPS = {"roll-out-model": "rollout", "run-ab-test": "ab_test"}
"""The steps that change what is served, and the artifact of each."""


@contextmanager
def small_site(base_model, home):
    """A site that serves nothing yet, below a folder; it ends with the block."""
    write_json(home / "faults.json", {})
    file = ServiceFile(home / "state" / "site", MODEL)
    faulty = [sys.executable, str(Path(__file__).with_name("faulty_server.py"))]
    # On a machine that does other work too, requests wait rather than being refused.
    server = shlex.join([*faulty, str(home / "faults.json"), "--max-wait-seconds", "30"])
    command = [sys.executable, "-m", "components.deployment.local.site", "--port", "0"]
    command += ["--state", str(file.folder), "--server", server]
    with pytest.MonkeyPatch.context() as patch, (home / "site.log").open("w") as log:
        # All state lies below the folder; nothing that this machine has set comes in.
        for name in local_environment(home):
            patch.setenv(name, "")
        for name, value in local_environment(home / "state").items():
            patch.setenv(name, value)
        trained(base_model, home / "good", shuffled=False)
        trained(base_model, home / "shuffled", shuffled=True)
        same = {"label": "not looked at", "p_negative": 0.0, "p_neutral": 0.0, "p_positive": 1.0}
        rows = [
            same
            | {"review_id": str(number), "review_body": text}
            | {"sentiment": sentiment, "predicted": sentiment}
            for number, (text, sentiment) in enumerate(made_up_reviews(600, seed=1))
        ]
        table = pa.Table.from_pylist(rows, schema=predictions_schema())
        write_parquet(home / "predictions.parquet", table)
        site = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until(lambda: file.is_served() or site.poll() is not None, 60)
            assert site.poll() is None, (home / "site.log").read_text()
            yield SmallSite(home, file)
        finally:
            site.terminate()
            site.wait(90)


def champions():
    return [version.version for version in list_versions(MODEL) if "champion" in version.aliases]
