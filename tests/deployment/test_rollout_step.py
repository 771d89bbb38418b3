"""The rollout's step with an empty place: no site, no cluster."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment import component
from components.deployment import rollout_step as subject
from components.deployment.judging.canary_analysis import Limits
from components.deployment.kserve.guarded_canary import GuardedCanary
from components.deployment.kserve.inference_service import Autoscaling, ServiceSettings
from components.deployment.roll_out import roll_out
from components.deployment.rollout_record import Decision, Rollout
from components.deployment.rollout_step import percentages, roll_out_model
from components.deployment.serving_place import ServingPlace
from components.shared.machine.errors import UserError
from components.shared.machine.files import sha256_of_file, write_json
from tests.deployment.rollout_world import World

NAME = "reviews"


@pytest.fixture
def model(tmp_path):
    """A whole model folder, as far as a rollout looks at it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model_card.md"):
        (folder / name).write_text(name)
    write_json(folder / "training.json", {})
    write_json(folder / "calibration.json", {})
    return folder


@pytest.fixture
def handed(monkeypatch):
    """What the rollout itself was given."""
    given = {}

    def roll_out(canary, source, **options):
        given.update(options, canary=canary, source=source)
        return Rollout(Decision.PROMOTE, "it proved itself", NAME, "4", "3", "Standard")

    monkeypatch.setattr(subject, "roll_out", roll_out)
    return given


PLACE = ServingPlace("the store", "the source", {}, lambda folder, uri, version: f"{uri}#{version}")


@pytest.fixture
def step(model, tmp_path):
    def call(**options):
        return roll_out_model(
            model,
            "s3://bucket/model",
            tmp_path / "labelled.parquet",
            tmp_path / "rollout",
            tmp_path / "report",
            **{"model_name": NAME, "version": "4", "place": PLACE, **options},
        )

    return call


def test_a_rollout_leaves_its_numbers_and_its_page(step, tmp_path, monkeypatch):
    world = World("Standard")
    place = ServingPlace(world.store, world.time, {}, lambda *_: "s3://bucket/4")
    world.time.errors["4"] = 0.3

    def on_the_tests_clock(canary, source, **options):
        canary = replace(canary, sleep=world.time.sleep)
        return roll_out(canary, source, clock=world.time.clock, **options)

    monkeypatch.setattr(subject, "roll_out", on_the_tests_clock)
    result = step(place=place)
    told = json.loads((tmp_path / "rollout").read_text())
    assert result.decision == told["decision"] == "roll_back"
    assert told["reason"].startswith("at 10 percent, failed requests")
    assert [step["percent"] for step in told["steps"]] == [10]
    page = (tmp_path / "report").read_text()
    assert "Version 4 was rolled back" in page
    assert "failed requests" in page


def test_all_is_handed_on(step, model, handed):
    assert step(namespace="n", retry_rejected=True, look_every_seconds=3).decision == "promote"
    assert handed["canary"] == GuardedCanary(
        "the store",
        NAME,
        "4",
        "s3://bucket/model#4",
        sha256_of_file(model / "model.safetensors"),
    )
    assert handed["source"] == "the source"
    assert handed["limits"] == Limits()
    assert handed["retry_rejected"] is True
    assert handed["look_every_seconds"] == 3
    assert handed["labelled"]("3", "4") is None


def test_limits_and_settings_differ_where_they_are_given(step, handed):
    step(
        limits={"error_rate": 0.5, "minimum_requests": 50.0},
        settings={
            "min_replicas": 3.0,  # numbers in a pipeline's parameter are floats
            "autoscaling": {"metric": "memory", "target": 60},
            "server_arguments": ["--batch-reviews=4"],
        },
    )
    assert handed["limits"] == replace(Limits(), error_rate=0.5, minimum_requests=50)
    settings = handed["canary"].settings
    for value in (handed["limits"].minimum_requests, settings.min_replicas):
        assert isinstance(value, int)
    assert settings == replace(
        ServiceSettings(),
        min_replicas=3,
        autoscaling=Autoscaling("memory", 60),
        server_arguments=("--batch-reviews=4",),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limits": {"errors": 1}}, "there is no limit 'errors'; there are error_rate, "),
        ({"settings": {"replicas": 1}}, "no service setting 'replicas'; there are min_replicas"),
        (
            {"settings": {"autoscaling": {"kind": "cpu"}}},
            "no autoscaling setting 'kind'; there are metric, target",
        ),
        (
            {"settings": {"autoscaling": {"target": 5}}},
            "autoscaling setting 'metric' is missing; give it",
        ),
        ({"limits": {"error_rate": "much"}}, "limit error_rate is 'much', which is no number"),
        ({"limits": {"error_rate": True}}, "limit error_rate is True, which is no number"),
        (
            {"limits": {"minimum_requests": 0.5}},
            "minimum_requests is 0.5, which is no whole number",
        ),
        ({"limits": {"alpha": 0}}, "limit alpha is 0; give more than 0 and less than 1"),
        ({"limits": {"alpha": 1.0}}, "limit alpha is 1; give more than 0 and less than 1"),
        ({"limits": {"error_rate": -0.1}}, "limit error_rate is -0.1; give 0 or more"),
        ({"limits": {"error_rate": float("nan")}}, "limit error_rate is nan; give 0 or more"),
        ({"settings": {"min_replicas": float("inf")}}, "min_replicas is inf, which is no whole"),
    ],
)
def test_what_cannot_be_is_named_before_anything_is_done(step, handed, options, message):
    with pytest.raises(UserError, match=message):
        step(**options)
    assert handed == {}


def test_a_folder_that_is_not_whole_is_not_rolled_out(step, model, handed):
    (model / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        step()
    assert handed == {}


def test_without_a_place_the_environment_says_where(step, handed, monkeypatch):
    asked = []
    monkeypatch.setattr(subject, "serving_place", lambda *given: asked.append(given) or PLACE)
    step(place=None, namespace="reviews")
    assert asked == [(NAME, "reviews")]
    assert handed["canary"].store == "the store"


@given(st.lists(st.integers(), min_size=1))
def test_percentages_are_read_as_written(steps):
    assert percentages(",".join(map(str, steps))) == tuple(steps)
    assert percentages(" , ".join(map(str, steps))) == tuple(steps)


@pytest.mark.parametrize("text", ["", "10;50", "10,,100", "10 %,100 %", "0.1,1", "ten"])
def test_what_is_no_percentage_is_refused_in_words(text):
    with pytest.raises(UserError, match="no percentages; write them as 10,50,100"):
        percentages(text)


class Artifact:
    uri = "s3://bucket/model"

    def __init__(self, path):
        self.path, self.logged = str(path), {}

    def log_metric(self, name, value):
        self.logged[name] = value


def test_the_component_hands_over_what_the_function_does(model, tmp_path, handed, monkeypatch):
    monkeypatch.setattr(subject, "serving_place", lambda *_: PLACE)
    metrics = Artifact(tmp_path / "metrics")
    outputs = component.roll_out_model.python_func(
        model=Artifact(model),
        labelled=Artifact(tmp_path / "labelled"),
        model_name=NAME,
        version="4",
        mode="Knative",
        steps="5,100",
        limits={"alpha": 0.1},
        settings={},
        namespace="",
        labelled_reviews=7,
        look_every_seconds=2.0,
        step_deadline_seconds=60.0,
        retry_rejected=False,
        payload_uri="",
        rollout=Artifact(tmp_path / "rollout"),
        report=Artifact(tmp_path / "report"),
        metrics=metrics,
    )
    assert outputs == ("promote", "it proved itself", "3")
    canary = handed["canary"]
    assert (canary.mode, handed["steps"], canary.version) == ("Knative", (5, 100), "4")
    assert handed["limits"].alpha == 0.1
    assert (handed["look_every_seconds"], handed["step_deadline_seconds"]) == (2.0, 60.0)
    assert canary.storage_uri == "s3://bucket/model#4"
    assert metrics.logged == {"decision": "promote", "steps_passed": 0}
