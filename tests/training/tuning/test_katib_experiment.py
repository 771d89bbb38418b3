"""The Experiment of a run, and the rules that it is checked by before it is sent."""

import contextlib
import copy
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.shared.machine.errors import UserError
from components.shared.machine.images import step_image, training_image
from components.training.__main__ import build_parser
from components.training.options import TrainingOptions
from components.training.tuning.experiment import read_search_space
from components.training.tuning.katib.experiment import experiment_manifest
from components.training.tuning.katib.rules import FIELDS, PLACEHOLDER, check_experiment
from components.training.tuning.random_search import experiment_file
from tests.stand_ins.katib import faults_of, webhook

NAME = "review-sentiment-tune-0123abcd"
OWNER = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run-x", "uid": "u-1"}


def made(source=None, trials=12, **changes):
    given = {
        "training_set": "/state/launched/x/training_set.parquet",
        "base_model": "roberta-base",
        "options": TrainingOptions(seed=7, epochs=9).to_dict(),
    }
    return experiment_manifest(
        source or experiment_file(), NAME, OWNER, trials=trials, **{**given, **changes}
    )


def pod_of(experiment):
    return experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 0), (1, 1), (1, 4), (2, 0), (3, 2)])
@pytest.mark.parametrize("trials", [1, 2, 50])
def test_katib_takes_what_is_made(nodes, gpus, trials):
    experiment = made(trials=trials, nodes=nodes, gpus_per_node=gpus)
    check_experiment(experiment)
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
    experiment = made(gpus_per_node=0)
    pod = pod_of(experiment)
    assert "nvidia.com/gpu" not in repr(pod)
    assert pod["containers"][0]["image"] == step_image()
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "8Gi"}
    assert pod_of(made())["containers"][0]["image"] == training_image(1)


def test_several_nodes_or_gpus_make_a_trial_a_train_job():
    template = made(nodes=2, gpus_per_node=4)["spec"]["trialTemplate"]
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
    assert "earlyStopping" in made(gpus_per_node=4)["spec"]
    assert "earlyStopping" not in made(nodes=2)["spec"]
    assert "earlyStopping" not in made(early_stopping=False)["spec"]


def test_the_seed_draws_where_the_manifest_has_none(tmp_path):
    content = yaml.safe_load(experiment_file().read_text())
    assert made()["spec"]["algorithm"] == content["spec"]["algorithm"]
    del content["spec"]["algorithm"]["algorithmSettings"]
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    assert made(path)["spec"]["algorithm"]["algorithmSettings"] == [
        {"name": "random_state", "value": "7"}
    ]


@pytest.mark.parametrize("changed", ["kind", "primaryContainerName"])
def test_a_trial_that_is_no_job_of_ours_is_refused(tmp_path, changed):
    content = yaml.safe_load(experiment_file().read_text())
    template = content["spec"]["trialTemplate"]
    (template["trialSpec"] if changed == "kind" else template)[changed] = "other"
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"no Job of batch/v1|no container named other"):
        made(path)


def _template(spec):
    return spec["trialTemplate"]


def _args(spec):
    return _template(spec)["trialSpec"]["spec"]["template"]["spec"]["containers"][0]


RULES = [
    (lambda spec: spec.update(maxTrialsCount=3), "spec.maxTrialsCount is no field"),
    (lambda spec: spec.update(maxTrialCount=0), "spec.maxTrialCount must be a whole number from 1"),
    (lambda spec: spec.update(parallelTrialCount="2"), "spec.parallelTrialCount must be a whole"),
    (lambda spec: spec.update(parallelTrialCount=13), "parallelTrialCount must not be above"),
    (lambda spec: spec.update(maxFailedTrialCount=-1), "spec.maxFailedTrialCount must be"),
    (lambda spec: spec.update(maxFailedTrialCount=13), "maxFailedTrialCount must not be above"),
    (lambda spec: spec.update(resumePolicy="Always"), "spec.resumePolicy must be"),
    (lambda spec: spec["objective"].update(goals=1), r"spec\.objective\.goals is no field"),
    (lambda spec: spec["objective"]["additionalMetricNames"].append("macro_f1"), "must not repeat"),
    (lambda spec: spec["objective"]["metricStrategies"].pop(), "must have validation_loss with"),
    (
        lambda spec: spec["algorithm"]["algorithmSettings"][0].update(name="seed"),
        r"spec\.algorithm\.algorithmSettings\[0\]: random knows random_state, not 'seed'",
    ),
    (
        lambda spec: spec["algorithm"]["algorithmSettings"][0].update(value="-1"),
        r"algorithmSettings\[0\]\.value must be a whole number from 0 up, in quotes, not '-1'",
    ),
    (lambda spec: spec["algorithm"].update(algorithmName="grid"), "algorithmName must be random"),
    (
        lambda spec: spec["earlyStopping"].update(algorithmName="mean"),
        r"spec\.earlyStopping\.algorithmName must be medianstop",
    ),
    (
        lambda spec: spec["earlyStopping"]["algorithmSettings"][1].update(value="0"),
        r"spec\.earlyStopping\.algorithmSettings\[1\]\.value must be a whole number from 1 up",
    ),
    (
        lambda spec: spec["metricsCollectorSpec"]["collector"].update(kind="File"),
        "collector.kind must be StdOut",
    ),
    (lambda spec: _template(spec).update(primaryContainerName=""), "primaryContainerName is missi"),
    (
        lambda spec: _template(spec)["trialSpec"].update(metadata={"name": "x"}),
        "metadata must have no name",
    ),
    (lambda spec: _template(spec)["trialSpec"].pop("apiVersion"), "has no apiVersion"),
    (lambda spec: _template(spec)["trialParameters"].pop(), "none that refers to layer_decay"),
    (
        lambda spec: _template(spec)["trialParameters"].append({"name": "x", "reference": "y"}),
        "refers to y, which is not in spec.parameters",
    ),
    (
        lambda spec: _template(spec)["trialParameters"][1].update(name="learning_rate"),
        r"trialParameters\[1\] repeats learning_rate",
    ),
    (lambda spec: _template(spec)["trialParameters"][0].update(name=""), r"\[0\] needs a name"),
    (lambda spec: _args(spec)["args"].append("--x=${trialParameters.rate}"), "uses rate, which"),
    (
        lambda spec: _args(spec).update(args=_args(spec)["args"][:3]),
        "has .*, which .*trialSpec does not use",
    ),
    (lambda spec: _args(spec).pop("command"), "must have a command"),
    (lambda spec: _args(spec)["args"].append('--x={"a": 1}'), "does not survive a shell"),
    (
        lambda spec: spec["parameters"][3]["feasibleSpace"]["list"].append("a b"),
        "class_weights: the value 'a b' does not survive",
    ),
]


@pytest.mark.parametrize(("change", "told"), RULES)
def test_what_katib_would_refuse_is_named_before_it_is_sent(change, told):
    experiment = copy.deepcopy(made())
    change(experiment["spec"])
    with pytest.raises(UserError, match=told):
        check_experiment(experiment)


@pytest.mark.parametrize("name", ["Tune", "1-tune", "tune-", "t" * 41, ""])
def test_a_name_that_katib_refuses_is_refused(name):
    experiment = made()
    experiment["metadata"]["name"] = name
    with pytest.raises(UserError, match=r"metadata\.name must be"):
        check_experiment(experiment)


def test_a_base_model_that_does_not_survive_a_shell_is_refused():
    with pytest.raises(UserError, match="does not survive a shell"):
        check_experiment(made(base_model="my model; rm -r /state"))


MANIFEST = yaml.safe_load(experiment_file().read_text())


def places(content, place=()):
    """The way to each value in it."""
    if isinstance(content, dict | list):
        for key in content if isinstance(content, dict) else range(len(content)):
            yield (*place, key)
            yield from places(content[key], (*place, key))


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
        check_experiment(made(path, nodes=nodes, gpus_per_node=gpus))


def test_the_fields_are_katibs():
    from kubeflow_katib_api import models

    def named(kind, known):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        assert set(known) <= set(fields)
        for name, inner in known.items():
            inner = inner[0] if isinstance(inner, list) else inner
            text = str(fields[name].annotation)
            if inner and "models." in text:
                named(getattr(models, text.rsplit(".", 1)[1].rstrip("]")), inner)

    named(models.V1beta1Experiment, FIELDS)


def test_a_placeholder_is_what_katib_replaces():
    # TrialTemplateParamReplaceFormatRegex in pkg/controller.v1beta1/consts/const.go.
    assert PLACEHOLDER.findall("--a=${trialParameters.a} ${trialSpec.Name}") == ["a"]
