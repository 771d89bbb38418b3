"""The steps of a pipeline: what their parameters choose, and what they write."""

import json
from functools import partial

import pytest

from components.deployment import ab_test, component, rollout
from components.deployment.asking.labelled import Answer
from components.deployment.place import Place
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import NAME, PLAN, REVIEWS, Lab, World


class Artifact:
    uri, metadata = "s3://bucket/model", {"digest": "d4"}

    def __init__(self, path):
        self.path, self.logged = str(path), {}

    def log_metric(self, name, value):
        self.logged[name] = value


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Runs a step in a world, on its clock; the outputs, the JSON and the metrics."""

    def run(world, name, **parameters):
        asked = []

        def serving_place(version, mode, **given):
            asked.append({"version": version, "mode": mode, **given})
            url = "http://split" if isinstance(world, Lab) else ""
            return Place(world.service(version), world.time, mode, lambda: url, dict, "/no/log")

        for module, function in ((rollout, "roll_out_model"), (ab_test, "run_ab_test")):
            clocked = partial(
                getattr(module, function), sleep=world.time.sleep, clock=world.time.clock
            )
            monkeypatch.setattr(module, function, clocked)
            monkeypatch.setattr(module, "serving_place", serving_place)
        metrics, made = Artifact(tmp_path / "metrics"), tmp_path / "made.json"
        given = {
            "model": Artifact("/model"),
            "labelled": Artifact(tmp_path / "labelled.parquet"),
            "model_name": NAME,
            "version": "4",
            "mode": world.mode,
            "options": {},
            "service": {"cpu": 4},
            "namespace": "there",
            {"roll_out_model": "rollout", "run_ab_test": "ab_test"}[name]: Artifact(made),
            "report": Artifact(tmp_path / "report"),
            "metrics": metrics,
        }
        outputs = getattr(component, name).python_func(**given | parameters)
        where = {"model_folder": "/model", "model_uri": Artifact.uri, "service": {"cpu": 4}}
        where |= {"model_name": NAME, "version": "4", "mode": world.mode, "namespace": "there"}
        where["model_digest"] = "d4"
        assert asked == [where]
        return outputs, json.loads(made.read_text()), metrics.logged

    return run


def test_a_rollout_leaves_its_numbers_and_its_page(step, tmp_path):
    world = World("Standard")
    world.time.errors["4"] = 0.3
    outputs, content, metrics = step(world, "roll_out_model")
    assert outputs == ("roll_back", content["reason"], "3")
    assert content["reason"].startswith("at 10 percent, failed requests")
    assert (content["model_name"], content["version"], content["mode"]) == (NAME, "4", "Standard")
    assert [step["percent"] for step in content["steps"]] == [10]
    assert content["shadow"] is None
    assert metrics == {"decision": "roll_back", "steps_passed": 1}
    page = (tmp_path / "report").read_text()
    assert "Version 4 was rolled back" in page
    assert "failed requests" in page


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_options_are_taken_by_name_and_a_shadow_is_described(step, mode):
    world = World(mode)
    world.time.errors["4"] = 0.3
    options = {"steps": "0,40,100", "minimum_requests": 0.0, "error_rate": "0.9"}
    _, content, _ = step(world, "roll_out_model", options=options)
    assert [step["percent"] for step in content["steps"]] == [0, 40, 100]
    assert (content["decision"], "shadow" in world.noted) == ("promote", False)
    assert "Its answers were not compared" in content["shadow"]


def test_an_option_that_cannot_be_is_named_before_anything_is_done(step):
    world = World("Standard")
    with pytest.raises(UserError, match="alpha must lie from 1e-09 to "):
        step(world, "roll_out_model", options={"alpha": 0})
    assert world.objects.calls == 0


@pytest.fixture
def lab(monkeypatch):
    """A lab that is asked through the step's own asker."""
    made = Lab("Standard")
    monkeypatch.setattr(ab_test, "read_labelled_reviews", lambda _: REVIEWS)
    monkeypatch.setattr(ab_test, "asker_of", lambda url, name: lambda *given: made.ask(*given))
    return made


def test_an_ab_test_leaves_its_numbers_and_its_page(step, lab, tmp_path):
    outputs, content, metrics = step(lab, "run_ab_test", options={**PLAN, "share_b": 40})
    assert outputs == ("promote", content["reason"], "3")
    assert content["result"]["winner"] == "B"
    assert (content["mode"], content["stopped"], content["unanswered"]) == ("Standard", False, 0)
    # One more was asked before the test, to see that answers come.
    assert content["asked"] == len(lab.asked) - 1
    assert content["seconds"] > 5
    assert "steps" not in content
    assert metrics["winner"] == "B"
    assert metrics["accuracy_difference"] == content["result"]["accuracy"]["difference"]
    assert metrics["needed_a"] == content["result"]["plan"]["needed"][0]
    assert "is better and serves now" in (tmp_path / "report").read_text()


def test_a_test_that_was_decided_before_compares_nothing(step, lab):
    lab.right = {"3": 0.9, "4": 0.5}
    _, first, _ = step(lab, "run_ab_test", options=PLAN)
    outputs, content, metrics = step(lab, "run_ab_test", options=PLAN)
    assert outputs == ("roll_back", first["reason"], "3")
    assert (content["result"], content["asked"], content["seconds"]) == (None, 0, 0)
    assert metrics == {"decision": "roll_back"}


def test_answers_of_another_service_are_noticed_before_anything_changes(step, lab):
    lab.ask = lambda reviews, seconds: [Answer("9", 200, True)]
    before = lab.final
    with pytest.raises(UserError, match="by version 9, not by version 3"):
        step(lab, "run_ab_test", options=PLAN)
    assert lab.final == before
