"""A cluster made of the mock and the real `kubernetes` client."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Resource
from components.shared.kubernetes.retries import RetryPolicy
from tests.stand_ins.api_server import (
    GROUP,
    PLURAL,
    VERSION,
    ApiServer,
    Time,
    kubeconfig,
)
from tests.stand_ins.api_server import Objects as Kept

TRAIN_JOBS = Resource(
    "trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob", "Kubeflow Trainer"
)
SERVICES = Resource(GROUP, VERSION, PLURAL, "InferenceService", "KServe")


def service(name="reviews", version="3"):
    """A minimal InferenceService."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard", "note": "a"},
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "model": {
                    "modelFormat": {"name": "review-sentiment"},
                    "storageUri": "s3://models/3",
                    "env": [{"name": "MODEL_VERSION", "value": version}],
                },
            }
        },
    }


@dataclass
class Cluster:
    api: ApiServer
    kept: Kept
    objects: Objects
    time: Time

    def in_namespace(self, namespace):
        return replace(self.objects, namespace=namespace)


def train_job(name="job", image="training:1"):
    """A minimal TrainJob."""
    return {
        "apiVersion": f"{TRAIN_JOBS.group}/{TRAIN_JOBS.version}",
        "kind": "TrainJob",
        "metadata": {"name": name, "labels": {"run": "1"}},
        "spec": {"runtimeRef": {"name": "torch"}, "trainer": {"image": image, "numNodes": 2}},
    }


def conditions(**holds):
    """A status by the conditions in it."""
    said = [{"type": kind, "status": str(value)} for kind, value in holds.items()]
    return {"conditions": said}


@contextmanager
def running(tmp_path, resource):
    kept, time = Kept(resource=(resource.group, resource.version, resource.plural)), Time()
    api = ApiServer(kept)
    client, namespace = connect(kubeconfig=kubeconfig(tmp_path, api.url))
    policy = RetryPolicy(30.0, time.clock, time.sleep, lambda: 1.0)
    yield Cluster(
        api,
        kept,
        Objects(client, namespace, resource, pods="app={name}", retry_policy=policy),
        time,
    )
    client.close()
    api.close()


@pytest.fixture
def cluster(tmp_path):
    """With InferenceServices."""
    with running(tmp_path, SERVICES) as made:
        yield made


@pytest.fixture
def jobs(tmp_path):
    """With TrainJobs."""
    with running(tmp_path, TRAIN_JOBS) as made:
        yield made
