import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.training.__main__ import build_parser
from components.training.on_nodes.train_job import (
    LONGEST_NAME,
    train_job,
    train_job_spec,
    training_arguments,
)
from components.training.options import TrainingOptions
from tests.stand_ins.kept_objects import CRDS, crd_validator
from tests.stand_ins.step_world import WORKFLOW


@pytest.fixture(scope="module")
def faults_of():
    """What the TrainJob's definition finds wrong with an object."""
    validator = crd_validator("trainer.kubeflow.org", "v1alpha1", "trainjobs")
    if validator is None:
        pytest.skip(f"the published CRDs are not at {CRDS} (set CRDS_DIR)")
    return lambda manifest: [f"{f.json_path}: {f.message}" for f in validator.iter_errors(manifest)]


def webhook(job):
    """Trainer's rules that no schema holds (v2.3: torch.go, jobset.go, trainjob_types.go)."""
    name, trainer = job["metadata"]["name"], job["spec"]["trainer"]
    assert re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert not [e for e in trainer.get("env", []) if e["name"].startswith("PET_")]
    for patch in job["spec"].get("runtimePatches", []):
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[\w.-]+", patch["manager"])
        jobs = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        assert [j["name"] for j in jobs] == ["node"]
    # JobSet's, for the last of the pods.
    last = trainer["numNodes"] - 1
    assert len(f"{name}-node-0-{last}-abcde") <= 63


ARGUMENTS = training_arguments("/state/t.parquet", "minilm", "/state/model", {"epochs": 2})


@pytest.mark.parametrize("nodes", [1, 2, 999])
@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("extra", [{}, {"image": "reg/training:1", "deadline_seconds": 3600}])
def test_a_train_job_is_what_trainer_takes(faults_of, nodes, gpus, extra):
    spec = train_job_spec(ARGUMENTS, nodes, gpus, **extra)
    job = train_job("n" * LONGEST_NAME, spec, WORKFLOW)
    assert faults_of(job) == []
    webhook(job)


def test_the_schema_is_strict(faults_of):
    job = train_job("n", train_job_spec(ARGUMENTS, 2, 1), WORKFLOW)
    job["spec"]["trainer"]["numberOfNodes"] = 2
    assert faults_of(job)


def test_each_gpu_gets_a_process_and_a_node_that_has_it():
    spec = train_job_spec(ARGUMENTS, 2, 4, image="reg/training:1", deadline_seconds=60)
    assert spec["trainer"]["command"] == ["python", "-m", "components.training.on_nodes.pod"]
    assert spec["trainer"]["args"] == ARGUMENTS
    assert (spec["trainer"]["numNodes"], spec["trainer"]["numProcPerNode"]) == (2, 4)
    # As text, as the API keeps quantities: an adopted object is compared with what was sent.
    resources = {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "4"}
    assert spec["trainer"]["resourcesPerNode"] == {"requests": resources, "limits": resources}
    assert spec["trainer"]["image"] == "reg/training:1"
    assert spec["activeDeadlineSeconds"] == 60
    (patch,) = spec["runtimePatches"]
    (job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pods = job["template"]["spec"]["template"]["spec"]
    assert pods["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    toleration = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert pods["tolerations"] == [toleration]


def test_without_gpus_a_node_gets_one_process_and_may_be_any():
    spec = train_job_spec(ARGUMENTS, 3, 0)
    assert spec["trainer"]["numProcPerNode"] == 1
    assert set(spec) == {"runtimeRef", "trainer"}
    assert not {"resourcesPerNode", "image"} & set(spec["trainer"])


@given(
    st.builds(
        TrainingOptions,
        learning_rate=st.floats(1e-8, 1.0),
        freeze_embeddings=st.booleans(),
        class_weights=st.sampled_from(["none", "sqrt", "balanced"]),
        epochs=st.integers(1, 1000),
    )
)
def test_the_command_line_reads_the_options_back(options):
    given = options.to_dict()
    places = {"training_set": "/t.parquet", "base_model": "m", "output": "/out"}
    more = {"checkpoints": "/c", "facts_file": "/f"}
    read = vars(build_parser().parse_args(training_arguments(*places.values(), given, **more)))
    assert {name: str(read[name]) for name in places | more} == places | more
    assert TrainingOptions.from_dict({name: read[name] for name in given}) == options


def test_what_is_not_given_is_left_out():
    # Katib replaces what stands in place of a value.
    assert training_arguments("/t", "m", "/o", {"batch_size": "${trialParameters.batch_size}"}) == [
        *("--training-set=/t", "--base-model=m", "--output=/o"),
        "--batch-size=${trialParameters.batch_size}",
    ]
