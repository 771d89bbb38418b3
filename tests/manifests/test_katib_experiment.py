"""The Katib Experiment against Katib's own rules and models, and our command line."""

import re

import pytest
import yaml

from components.shared.kubernetes import namespace_objects as names
from components.shared.kubernetes.shared_folder import LAUNCHED, TRAINING_SET
from components.shared.machine.images import training_image
from components.training.__main__ import METRICS, build_parser
from components.training.options import TrainingOptions
from components.training.tuning.experiment import experiment_file, read_search_space
from components.training.tuning.katib_experiment import MODEL_FOLDER
from tests.stand_ins.katib import faults_of


@pytest.fixture
def experiment():
    return yaml.safe_load(experiment_file().read_text())


@pytest.fixture
def template(experiment):
    return experiment["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]


@pytest.fixture
def container(template):
    (container,) = template["spec"]["containers"]
    return container


def test_katib_takes_it_and_the_collector_finds_the_metrics(experiment):
    assert faults_of(experiment) == []
    spec = experiment["spec"]
    wanted = [spec["objective"]["objectiveMetricName"], *spec["objective"]["additionalMetricNames"]]
    assert set(wanted) <= set(METRICS)
    assert [strategy["name"] for strategy in spec["objective"]["metricStrategies"]] == wanted
    assert spec["metricsCollectorSpec"]["collector"]["kind"] == "StdOut"


def test_the_command_survives_the_webhooks_shell_and_is_one_that_we_have(experiment, container):
    assert container["command"] == ["python", "-m", "components.training"]
    for word in [*container["command"], *container["args"]]:
        assert not set(word) & set("\"'`\\;&|<>*?[]() \n")
    arguments = [re.sub(r"\$\{trialParameters\.(.+?)\}", "1", one) for one in container["args"]]
    # Spelled out: argparse would also take a shortened name.
    options = {name for action in build_parser()._actions for name in action.option_strings}
    assert {argument.split("=")[0] for argument in arguments} <= options
    given = vars(build_parser().parse_args(arguments))
    for parameter in experiment["spec"]["parameters"]:
        assert given[parameter["name"]] == "1"
        assert hasattr(TrainingOptions(), parameter["name"])


def test_the_trial_is_our_image_restricted_and_meets_no_sidecar(experiment, template, container):
    pod = template["spec"]
    assert container["image"] == training_image(1)
    assert container["name"] == experiment["spec"]["trialTemplate"]["primaryContainerName"]
    ours = {names.PART_OF_LABEL: names.PART_OF, names.COMPONENT_LABEL: "trial"}
    assert template["metadata"]["labels"] == ours | {"sidecar.istio.io/inject": "false"}
    assert pod["restartPolicy"] == "Never"
    security = pod["securityContext"]
    assert security["runAsGroup"] == security["fsGroup"] == names.RUN_AS_USER
    assert container["resources"]["limits"][names.GPU] == "1"
    assert pod["nodeSelector"] == dict([names.GPU_NODE_LABEL])
    assert [one["key"] for one in pod["tolerations"]] == [names.GPU]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    state = mounted[names.STATE_PATH]
    assert state["readOnly"] is True
    assert volumes[state["name"]]["persistentVolumeClaim"]["claimName"] == names.STATE_CLAIM
    assert "emptyDir" in volumes[mounted["/tmp"]["name"]]
    arguments = dict(argument.split("=", 1) for argument in container["args"])
    folder = f"{names.STATE_PATH}/{LAUNCHED}/{experiment['metadata']['name']}"
    assert arguments["--training-set"] == f"{folder}/{TRAINING_SET}"
    assert arguments["--output"] == MODEL_FOLDER
    assert MODEL_FOLDER.startswith("/tmp/")


def test_a_trial_ends_by_itself_and_leaves_its_log(experiment):
    template = experiment["spec"]["trialTemplate"]
    job = template["trialSpec"]["spec"]
    assert job["activeDeadlineSeconds"] > 0
    # Katib would delete the pods of a trial that has failed before their log is read.
    assert template["retain"] is True
    assert job["ttlSecondsAfterFinished"] > 0
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "Ignore"
    assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_each_trial_takes_the_looks_that_early_stopping_goes_by(experiment):
    settings = experiment["spec"]["earlyStopping"]["algorithmSettings"]
    start_step = {one["name"]: int(one["value"]) for one in settings}["start_step"]
    (epochs,) = (p for p in read_search_space(experiment_file()).parameters if p.name == "epochs")
    looks = TrainingOptions().evaluations_per_epoch * int(epochs.low)
    assert start_step <= looks
