import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from kfp import compiler, dsl

from components.shared.kubernetes.namespace_objects import SERVICE_ACCOUNT
from pipelines.running import submit
from tests.stand_ins.pipelines_api import PipelinesApi

PROJECT = Path(__file__).parents[3]


@pytest.fixture
def api():
    with closing(PipelinesApi()) as server:
        yield server


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    @dsl.component(base_image="python:3.11")
    def echo(text: str) -> str:
        return text

    @dsl.pipeline(name="small")
    def small(count: int, text: str = "hello", trials: int = 1) -> None:
        echo(text=text)

    path = tmp_path_factory.mktemp("build") / "small.yaml"
    compiler.Compiler().compile(small, package_path=str(path))
    return str(path)


def posted(api, kind):
    """The one request of a kind."""
    (found,) = [body for asked, _, body in api.asked if asked == kind]
    return found


def cached(body):
    """Whether the steps' results may be reused."""
    tasks = body["pipeline_spec"]["root"]["dag"]["tasks"].values()
    return {task["cachingOptions"].get("enableCache", False) for task in tasks}


def test_a_run_names_service_account_experiment_and_parameters(api, package, monkeypatch):
    monkeypatch.setenv(submit.TOKEN_VARIABLE, "a-token")
    submit.main([package, "--endpoint", api.url, "count=1", "text=2", "trials=4"])
    run = posted(api, "runs")
    assert run["service_account"] == SERVICE_ACCOUNT
    assert run["experiment_id"] == "e1"
    assert run["display_name"] == "small"
    assert run["runtime_config"]["parameters"] == {"count": 1, "text": "2", "trials": 4}
    assert cached(run) == {True}
    assert {token for _, token, _ in api.asked} == {"Bearer a-token"}
    api.asked.clear()
    other = ["--no-cache", "--service-account", "other"]
    submit.main([package, "--endpoint", api.url, *other, "count=1"])
    run = posted(api, "runs")
    assert cached(run) == {False}
    assert run["service_account"] == "other"


def test_a_schedule_takes_the_place_of_the_one_before(api, package, capsys):
    api.schedules |= {"s1": "weekly", "s0": "another"}
    when = ["--name", "weekly", "--cron", "0 0 3 * * 1"]
    submit.main([package, "--endpoint", api.url, *when, "count=1", "text=7"])
    made = posted(api, "recurringruns")
    assert made["service_account"] == SERVICE_ACCOUNT
    assert made["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * 1"
    assert made["max_concurrency"] == 1
    assert made["no_catchup"] is True
    assert made["runtime_config"]["parameters"] == {"count": 1, "text": "7"}
    assert api.schedules == {"s2": "weekly", "s0": "another"}
    assert "in place of the one before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "refuse", "said"),
    [
        (["trials"], 0, "'trials' is not of the form name=value"),
        (["trails=3"], 0, "has no parameter trails; it has count, text, trials"),
        (["text=a"], 0, "needs the parameter count"),
        (["count=1"], 403, "403"),
        (["count=1"], 401, submit.TOKEN_VARIABLE),
        (["count=1"], 500, "answered 500"),
        (
            ["--endpoint", "http://127.0.0.1:1", "count=1"],
            *(0, "error: Kubeflow Pipelines at http://127.0.0.1:1 cannot be reached"),
        ),
        (["build/none.yaml"], 0, "make compile"),
    ],
)
def test_what_is_wrong_is_reported_in_a_sentence(api, package, capsys, words, refuse, said):
    api.refuse = refuse
    given = words if words[0].startswith("build") else [package, "--endpoint", api.url, *words]
    with pytest.raises(SystemExit, match="2"):
        submit.main(given)
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
    assert not api.schedules


@pytest.mark.slow
def test_make_submit_posts_the_compiled_pipeline(api):
    words = ["make", "submit", f"KFP_ENDPOINT={api.url}", "DATA=s3://bucket/reviews.csv"]
    words += ["BASE_MODEL=roberta-base", "ARGS=tune_trials=4 accuracy_threshold=0.85"]
    done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = posted(api, "runs")
    wanted = {"data_uri": "s3://bucket/reviews.csv", "base_model": "roberta-base"}
    wanted |= {"tune_trials": 4, "accuracy_threshold": 0.85}
    assert run["runtime_config"]["parameters"] == wanted
    spec = run["pipeline_spec"]
    assert spec["pipeline_spec"]["pipelineInfo"]["name"] == "review-sentiment-training"
    assert "kubernetes" in spec["platform_spec"]["platforms"]
