"""The Katib Experiment against Katib's own models, its webhook's rules and our command line.

Katib's schema keeps unknown fields and its models drop them, so a typo shows only here.
"""

import re

import pytest
import yaml

from components.contracts.images import TRAINING_IMAGE
from components.training.__main__ import METRICS, build_parser
from components.training.options import TrainingOptions
from components.training.tuning import experiment_file


@pytest.fixture
def experiment():
    return yaml.safe_load(experiment_file().read_text())


@pytest.fixture
def container(experiment):
    pod = experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return container


def test_katibs_models_keep_every_field(experiment):
    from kubeflow_katib_api.models import V1beta1Experiment

    read = V1beta1Experiment.from_dict(experiment)
    assert read.to_dict() == experiment


def test_the_webhooks_rules(experiment):
    spec, template = experiment["spec"], experiment["spec"]["trialTemplate"]
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", experiment["metadata"]["name"])
    assert spec["parallelTrialCount"] <= spec["maxTrialCount"]
    assert spec["maxFailedTrialCount"] <= spec["maxTrialCount"]
    assert (
        spec["objective"]["objectiveMetricName"] not in spec["objective"]["additionalMetricNames"]
    )
    assert not {"name", "namespace"} & set(template["trialSpec"].get("metadata", {}))
    searched = [parameter["name"] for parameter in spec["parameters"]]
    assert len(set(searched)) == len(searched)
    assert [p["reference"] for p in template["trialParameters"]] == searched
    used = re.findall(r"\$\{trialParameters\.(.+?)\}", yaml.safe_dump(template["trialSpec"]))
    assert sorted(used) == sorted(p["name"] for p in template["trialParameters"])


def test_the_collector_finds_the_metrics(experiment):
    spec = experiment["spec"]
    wanted = [spec["objective"]["objectiveMetricName"], *spec["objective"]["additionalMetricNames"]]
    assert set(wanted) <= set(METRICS)
    assert [strategy["name"] for strategy in spec["objective"]["metricStrategies"]] == wanted
    assert spec["metricsCollectorSpec"]["collector"]["kind"] == "StdOut"


def test_the_command_survives_the_webhooks_shell_and_is_one_that_we_have(experiment, container):
    assert container["command"] == ["python", "-m", "components.training"]
    for word in [*container["command"], *container["args"]]:
        assert not set(word) & set("\"'`\\;&|<>*?[]() \n")
    arguments = [
        re.sub(r"\$\{trialParameters\.(.+?)\}", "1", argument) for argument in container["args"]
    ]
    # Spelled out: argparse would also take a shortened name.
    options = {name for action in build_parser()._actions for name in action.option_strings}
    assert {argument.split("=")[0] for argument in arguments} <= options
    given = vars(build_parser().parse_args(arguments))
    for parameter in experiment["spec"]["parameters"]:
        assert given[parameter["name"]] == "1"
        assert hasattr(TrainingOptions(), parameter["name"])


def test_the_trial_is_our_image_restricted_and_meets_no_sidecar(experiment, container):
    template = experiment["spec"]["trialTemplate"]
    pod = template["trialSpec"]["spec"]["template"]
    assert container["image"] == TRAINING_IMAGE
    assert container["name"] == template["primaryContainerName"]
    assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
