from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.launch import condition
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.refusals import Resource
from components.shared.kubernetes.retries import RetryPolicy
from tests.stand_ins.api_server import GROUP, PLURAL, VERSION, ApiServer, Time, kubeconfig
from tests.stand_ins.api_server import Objects as Kept

TRAIN_JOBS = Resource(
    "trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob", "Kubeflow Trainer"
)
SERVICES = Resource(GROUP, VERSION, PLURAL, "InferenceService", "KServe")


def manifest(kind, name, spec, **metadata):
    head = {"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.kind}
    return {**head, "metadata": {"name": name, **metadata}, "spec": spec}


def service(name="reviews", version="3"):
    model = {"modelFormat": {"name": "review-sentiment"}, "storageUri": "s3://models/3"}
    model["env"] = [{"name": "MODEL_VERSION", "value": version}]
    annotations = {"serving.kserve.io/deploymentMode": "Standard", "note": "a"}
    spec = {"predictor": {"minReplicas": 1, "model": model}}
    return manifest(SERVICES, name, spec, annotations=annotations)


@dataclass
class Cluster:
    api: ApiServer
    kept: Kept
    objects: Objects
    time: Time

    def at_watch(self, nth, do):
        """Does something before the n-th watch is served."""

        def before(method, path):
            if method == "WATCH" and self.api.count("WATCH") == nth:
                do()

        self.api.before = before


def train_job(name="job", image="training:1"):
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {"image": image, "numNodes": 2}}
    return manifest(TRAIN_JOBS, name, spec, labels={"run": "1"})


def conditions(**holds):
    return {"conditions": [{"type": kind, "status": str(is_so)} for kind, is_so in holds.items()]}


def container(name="node", **state):
    """The status of a container that is not ready."""
    image = {"image": "training:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"name": name, **image, "state": state}


def outcome(found):
    if condition(found, "Complete"):
        return True
    return False if condition(found, "Failed") else None


@contextmanager
def running(tmp_path, resource):
    kept, time = Kept(resource=(resource.group, resource.version, resource.plural)), Time()
    api = ApiServer(kept)
    client, namespace = connect(kubeconfig=kubeconfig(tmp_path, api.url))
    policy = RetryPolicy(30.0, time.clock, time.sleep, lambda: 1.0)
    objects = Objects(client, namespace, resource, pods="app={name}", retry_policy=policy)
    yield Cluster(api, kept, objects, time)
    client.close()
    api.close()


@pytest.fixture
def cluster(tmp_path):
    with running(tmp_path, SERVICES) as made:
        yield made


@pytest.fixture
def jobs(tmp_path):
    with running(tmp_path, TRAIN_JOBS) as made:
        yield made
