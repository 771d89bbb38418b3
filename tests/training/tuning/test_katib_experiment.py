"""The Experiment of a run, and what is found wrong with it before it is sent."""

import contextlib
import copy
import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.machine.images import step_image, training_image
from components.training.__main__ import build_parser
from components.training.options import TrainingOptions
from components.training.tuning.experiment import (
    experiment_file,
    read_experiment,
    read_search_space,
)
from components.training.tuning.katib_experiment import (
    PLACEHOLDER,
    TrialSettings,
    experiment_manifest,
)
from tests.stand_ins.katib import faults_of, webhook

NAME = "review-sentiment-tune-0123abcd"
MANIFEST = yaml.safe_load(experiment_file().read_text())
OWNER = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run-x", "uid": "u-1"}


def made(source=None, trials=12, nodes=1, gpus=1, early_stopping=True, base_model="roberta-base"):
    options = TrainingOptions(seed=7, epochs=9).to_dict()
    training_set = "/state/launched/x/training_set.parquet"
    trials = TrialSettings(trials, training_set, base_model, options, nodes, gpus)
    source = source or experiment_file()
    read_search_space(source)
    return experiment_manifest(
        read_experiment(source), NAME, OWNER, trials, early_stopping=early_stopping
    )


@pytest.fixture
def changed(tmp_path):
    """The Experiment that is made of a manifest in which something was changed."""

    def make(change, **trials):
        content = copy.deepcopy(MANIFEST)
        change(content["spec"])
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump(content))
        return made(path, **trials)

    return make


def pod_of(experiment):
    return experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 2)])
@pytest.mark.parametrize("trials", [1, 2, 50])
def test_katib_takes_what_is_made(nodes, gpus, trials):
    experiment = made(trials=trials, nodes=nodes, gpus=gpus)
    assert faults_of(experiment) == []
    assert webhook(experiment) == ""
    assert experiment["spec"]["maxTrialCount"] == trials
    assert experiment["spec"]["parallelTrialCount"] == min(2, trials)
    assert experiment["spec"]["maxFailedTrialCount"] == min(3, trials)


def test_a_run_names_labels_and_owns_its_experiment():
    assert made()["metadata"] == {
        "name": NAME,
        "labels": {"app.kubernetes.io/part-of": "review-sentiment"},
        "ownerReferences": [OWNER],
    }


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_trial_gets_all_options_the_searched_ones_from_katib(nodes):
    trial = made(nodes=nodes)["spec"]["trialTemplate"]["trialSpec"]["spec"]
    words = trial["trainer"]["args"] if nodes > 1 else pod_of(made())["containers"][0]["args"]
    given = vars(build_parser().parse_args(words))
    searched = {one.name for one in read_search_space(experiment_file()).parameters}
    for name, value in TrainingOptions(seed=7, epochs=9).to_dict().items():
        wanted = f"${{trialParameters.{name}}}" if name in searched else str(value)
        assert given[name] == wanted
    assert str(given["training_set"]) == "/state/launched/x/training_set.parquet"
    assert given["base_model"] == "roberta-base"


def test_without_gpus_a_trial_asks_for_none():
    experiment = made(gpus=0)
    pod = pod_of(experiment)
    assert "nvidia.com/gpu" not in repr(pod)
    assert pod["containers"][0]["image"] == step_image()
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert pod_of(made())["containers"][0]["image"] == training_image(1)


def test_several_nodes_or_gpus_make_a_trial_a_train_job():
    template = made(nodes=2, gpus=4)["spec"]["trialTemplate"]
    assert template["primaryContainerName"] == "node"
    trial = template["trialSpec"]
    assert (trial["apiVersion"], trial["kind"]) == ("trainer.kubeflow.org/v1alpha1", "TrainJob")
    assert "name" not in trial["metadata"]
    trainer = trial["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["image"] == training_image(1)
    # An orphan ends by itself, as a Job would.
    assert trial["spec"]["activeDeadlineSeconds"] == 14400
    with pytest.raises(UserError, match="0 nodes"):
        made(nodes=0)


def test_early_stopping_is_for_trials_that_one_process_can_stop():
    assert "earlyStopping" in made()["spec"]
    assert "earlyStopping" in made(gpus=4)["spec"]
    assert "earlyStopping" not in made(nodes=2)["spec"]
    assert "earlyStopping" not in made(early_stopping=False)["spec"]


def test_the_seed_draws_where_the_manifest_has_none(changed):
    assert made()["spec"]["algorithm"] == MANIFEST["spec"]["algorithm"]
    experiment = changed(lambda spec: spec["algorithm"].pop("algorithmSettings"))
    assert experiment["spec"]["algorithm"]["algorithmSettings"] == [
        {"name": "random_state", "value": "7"}
    ]


def _template(spec):
    return spec["trialTemplate"]


def _container(spec):
    return _template(spec)["trialSpec"]["spec"]["template"]["spec"]["containers"][0]


WRONG = [
    # Katib's models know the fields and their types.
    (lambda spec: spec.update(maxTrialsCount=3), r"Katib knows no field spec\.maxTrialsCount"),
    (
        lambda spec: spec["objective"]["metricStrategies"][1].update(values="latest"),
        r"knows no field spec\.objective\.metricStrategies\[1\]\.values",
    ),
    (lambda spec: spec.update(parallelTrialCount="2"), "parallelTrialCount, '2', .* integer"),
    (lambda spec: _template(spec).update(retain="yes"), "retain, 'yes', is not what Katib takes"),
    (lambda spec: _template(spec).update(trialParameters=["a"]), "'a', is not what Katib takes"),
    # What Katib accepts and what would cost the time of all trials.
    (lambda spec: spec["objective"]["metricStrategies"].pop(), "must have validation_loss with"),
    (
        lambda spec: spec["objective"]["metricStrategies"][0].update(value="max"),
        "must have macro_f1 with the value latest",
    ),
    (
        lambda spec: spec["metricsCollectorSpec"]["collector"].update(kind="File"),
        "collector.kind must be StdOut",
    ),
    (lambda spec: _container(spec).pop("command"), "must have a command"),
    (lambda spec: _container(spec)["command"].append("a;b"), "'a;b' does not survive a shell"),
    (
        lambda spec: spec["parameters"][3]["feasibleSpace"]["list"].append("a b"),
        "class_weights: the value 'a b' does not survive",
    ),
    # The Job, from which a TrainJob is made as well.
    (lambda spec: _template(spec)["trialSpec"].update(kind="Pod"), "must be a Job of batch/v1"),
    (lambda spec: _template(spec).update(primaryContainerName="other"), "must be a Job of batch"),
    (lambda spec: _template(spec)["trialSpec"].pop("spec"), "must be a Job of batch/v1"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_would_fail_or_mislead_is_named_before_it_is_sent(changed, change, message):
    with pytest.raises(UserError, match=message):
        changed(change)


def test_a_base_model_that_does_not_survive_a_shell_is_refused():
    for nodes in (1, 2):
        with pytest.raises(UserError, match="does not survive a shell"):
            made(base_model="my model; rm -r /state", nodes=nodes)


def places(content, place=()):
    """The way to each value in it."""
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield (*place, key)
            yield from places(content[key], (*place, key))


@settings(deadline=None)  # the first example imports Katib's models
@given(
    place=st.sampled_from(list(places(MANIFEST))),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=3,
    ),
    scale=st.sampled_from([(1, 1), (1, 0), (2, 0)]),
)
def test_whatever_stands_in_the_manifest_is_taken_or_refused_in_words(
    tmp_path_factory, place, value, scale
):
    content = copy.deepcopy(MANIFEST)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path = tmp_path_factory.getbasetemp() / "experiment.yaml"
    path.write_text(json.dumps(content))
    nodes, gpus = scale
    with contextlib.suppress(UserError):
        made(path, nodes=nodes, gpus=gpus)


def test_a_placeholder_is_what_katib_replaces():
    # TrialTemplateParamReplaceFormatRegex in pkg/controller.v1beta1/consts/const.go.
    assert PLACEHOLDER.findall("--a=${trialParameters.a} ${trialSpec.Name}") == ["a"]
