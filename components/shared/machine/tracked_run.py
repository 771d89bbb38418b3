"""A training as a run in MLflow, which begins and ends with it and holds its numbers.

Tracking serves the training, not the other way round: where MLflow cannot be reached, a warning is
all that comes of it. Registration, which cannot do without, says it as an error.
"""

import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.shared.machine.errors import UserError
from components.shared.machine.signals import on_sigterm
from components.shared.machine.tracking import (
    INJECTED_RUN,
    TRACKING_URI,
    errors_in_words,
    experiment_id,
    log_in_batches,
    metric_key,
    tracking_client,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUN_NAME = "RUN_NAME"
"""Environment variable with the name of the pipeline's run, where somebody named it."""

GATE_TAG = "gate"
"""Tag of a run: `passed` or `closed`."""

_KEY = "training_key"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """What a run says of a training before it begins.

    Attributes:
        experiment: Named as the registered model is.
        key: Decides whether a training goes on with the run of one that was ended.
        parameters: Options by name.
        facts: Lineage: tags of the run.
        dataset: Name, digest and rows of what it learns from.
    """

    experiment: str
    key: str
    parameters: Mapping[str, Any]
    facts: Mapping[str, Any]
    dataset: tuple[str, str, int]


class TrackedRun:
    """A run that metrics and tags can be written to; without an id, nothing is."""

    def __init__(self, client: "MlflowClient | None" = None, run_id: str = "") -> None:
        self._client, self.id = client, run_id

    def evaluated(self, entry: Mapping[str, float]) -> None:
        """Log an entry of the training history at its step; without a step nothing is logged."""
        if "step" in entry:
            named = {f"training.{name}": value for name, value in entry.items() if name != "step"}
            self.log(named, int(entry["step"]))

    def log(
        self, metrics: Mapping[str, float], step: int = 0, tags: Mapping[str, str] | None = None
    ) -> None:
        """Log metrics of a step, and tags."""
        if self._client is None:
            return
        from mlflow.entities import Metric, RunTag

        now = int(time.time() * 1000)
        values = [Metric(metric_key(name), float(x), now, step) for name, x in metrics.items()]
        with _warned():
            named = [RunTag(name, str(value)[:5000]) for name, value in (tags or {}).items()]
            log_in_batches(self._client, self.id, metrics=values, tags=named)

    def end(self, status: str) -> None:
        """Set how the run ended: FINISHED, FAILED or KILLED."""
        if self._client is not None and self.id != os.environ.get(INJECTED_RUN):
            with _warned():
                self._client.set_terminated(self.id, status)


@contextmanager
def training_run(training: Training) -> Iterator[TrackedRun]:
    """A run for as long as the body takes: FINISHED after it, KILLED by a signal, else FAILED.

    A training that goes on where one was killed goes on with its run, too.
    """
    run = TrackedRun()
    with _warned():
        run = _begun(training)
    with on_sigterm(_leave):
        try:
            yield run
        except (KeyboardInterrupt, SystemExit):
            run.end("KILLED")
            raise
        except BaseException:
            run.end("FAILED")
            raise
    run.end("FINISHED")


def run_of(run_id: str) -> TrackedRun:
    """The run of a training that has ended; one that takes nothing where the id is unknown."""
    run = TrackedRun()
    if run_id and os.environ.get(TRACKING_URI):
        with _warned():
            client = tracking_client()
            run = TrackedRun(client, client.get_run(run_id).info.run_id)
    return run


def _begun(training: Training) -> TrackedRun:
    """A new run, the one that was killed, or the one that the backend of the pipelines injects."""
    if not os.environ.get(TRACKING_URI):
        return TrackedRun()
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    client = tracking_client()
    experiment, run_id = experiment_id(client, training.experiment), os.environ.get(INJECTED_RUN)
    if not run_id:
        ended = client.search_runs([experiment], f"tags.{_KEY} = '{training.key}'")
        run_id = next((run.info.run_id for run in ended if run.info.status != "FINISHED"), "")
        if run_id:
            client.update_run(run_id, status="RUNNING")
            return TrackedRun(client, run_id)
        name = os.environ.get(RUN_NAME) or time.strftime("training-%Y-%m-%d-%H%M%S", time.gmtime())
        tags = {_KEY: training.key, **{key: str(value) for key, value in training.facts.items()}}
        run_id = client.create_run(experiment, tags=tags, run_name=name).info.run_id
    values = [Param(key, str(value)[:6000]) for key, value in training.parameters.items()]
    log_in_batches(client, run_id, params=values)
    name, digest, rows = training.dataset
    data = Dataset(
        name, digest[:36], "local", json.dumps({"data": name}), profile=json.dumps({"rows": rows})
    )
    # By the fingerprint the catalogue finds the snapshot of which the data came.
    given = str(training.facts.get("data_fingerprint", ""))
    tags = [InputTag("mlflow.data.context", "training"), InputTag("data_fingerprint", given)]
    client.log_inputs(run_id, datasets=[DatasetInput(data, tags)])
    return TrackedRun(client, run_id)


@contextmanager
def _warned() -> Iterator[None]:
    """Turn what goes wrong with MLflow into a warning."""
    try:
        with errors_in_words():
            yield
    except (UserError, ImportError, OSError) as error:
        logger.warning("the run is not tracked: %s", error)


def _leave() -> None:
    """End the process by an exception, so that its run is ended too."""
    raise SystemExit(128 + signal.SIGTERM)
