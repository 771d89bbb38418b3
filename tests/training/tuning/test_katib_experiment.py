import contextlib
import json

import pytest
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
from tests.stand_ins.katib import faults_of
from tests.training.tuning.conftest import MANIFEST, with_value

NAME = "review-sentiment-tune-0123abcd"
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


def pod_of(experiment):
    return experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 2)])
@pytest.mark.parametrize("trials", [1, 2, 50])
def test_katib_takes_what_is_made(nodes, gpus, trials):
    experiment = made(trials=trials, nodes=nodes, gpus=gpus)
    assert faults_of(experiment) == []
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
    pod = pod_of(made(gpus=0))
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
    found = [trainer[key] for key in ("numNodes", "numProcPerNode", "image")]
    assert found == [2, 4, training_image(1)]
    # An orphan ends by itself, as a Job would.
    assert trial["spec"]["activeDeadlineSeconds"] == 14400
    with pytest.raises(UserError, match="0 nodes"):
        made(nodes=0)


def test_early_stopping_is_for_trials_that_one_process_can_stop():
    scales = {}, {"gpus": 4}, {"nodes": 2}, {"early_stopping": False}
    found = ["earlyStopping" in made(**scale)["spec"] for scale in scales]
    assert found == [True, True, False, False]


def test_the_seed_draws_where_the_manifest_has_none(written):
    assert made()["spec"]["algorithm"] == MANIFEST["spec"]["algorithm"]
    experiment = made(written("algorithm.algorithmSettings", ...))
    assert experiment["spec"]["algorithm"]["algorithmSettings"] == [
        {"name": "random_state", "value": "7"}
    ]


COMMAND = "trialTemplate.trialSpec.spec.template.spec.containers.0.command"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        # Katib's models know the fields and their types.
        ("maxTrialsCount", 3, r"Katib knows no field spec\.maxTrialsCount"),
        ("objective.metricStrategies.1.values", "latest", r"field .*Strategies\[1\]\.values"),
        ("parallelTrialCount", "2", "parallelTrialCount, '2', .* integer"),
        ("trialTemplate.retain", "yes", "retain, 'yes', is not what Katib takes"),
        ("trialTemplate.trialParameters", ["a"], "'a', is not what Katib takes"),
        # What Katib accepts and what would cost the time of all trials.
        ("objective.metricStrategies.-1", ..., "must have validation_loss with"),
        ("objective.metricStrategies.0.value", "max", "must have macro_f1 with the value latest"),
        ("metricsCollectorSpec.collector.kind", "File", "collector.kind must be StdOut"),
        (COMMAND, ..., "must have a command"),
        (f"{COMMAND}.-1", "a;b", "'a;b' does not survive a shell"),
        ("parameters.3.feasibleSpace.list.-1", "a b", "class_weights: the value 'a b' does not su"),
        # The Job, from which a TrainJob is made as well.
        ("trialTemplate.trialSpec.kind", "Pod", "must be a Job of batch/v1"),
        ("trialTemplate.primaryContainerName", "other", "must be a Job of batch/v1"),
        ("trialTemplate.trialSpec.spec", ..., "must be a Job of batch/v1"),
    ],
)
def test_what_would_fail_or_mislead_is_named_before_it_is_sent(written, place, value, message):
    with pytest.raises(UserError, match=message):
        made(written(place, value))


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
    path = tmp_path_factory.getbasetemp() / "experiment.yaml"
    path.write_text(json.dumps(with_value(place, value)))
    nodes, gpus = scale
    with contextlib.suppress(UserError):
        made(path, nodes=nodes, gpus=gpus)


def test_a_placeholder_is_what_katib_replaces():
    # TrialTemplateParamReplaceFormatRegex in pkg/controller.v1beta1/consts/const.go.
    assert PLACEHOLDER.findall("--a=${trialParameters.a} ${trialSpec.Name}") == ["a"]
