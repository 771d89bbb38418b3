"""A step of a run on a cluster: the API that it talks to, and the volume that its pods share."""

from functools import partial

from components.shared.kubernetes.connection import connect
from components.shared.kubernetes.objects import Objects
from components.shared.kubernetes.retries import RetryPolicy
from tests.stand_ins.api_server import ApiServer, Time, kubeconfig

RUN = "0123abcd-4567-4000-8000-0123456789ab"
WORKFLOW = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "run-x"}
WORKFLOW["uid"] = "0c6a4bb2-9c5f-4f5e-8d3f-1f2b3c4d5e6f"


class StepWorld:
    """What a step that launches things finds around it.

    Attributes:
        api: The API server, with the step's own pod.
        volume: The shared volume.
        training_set: What the step is given.
        time: A clock that only waiting moves.
    """

    def __init__(self, folder, training_set, *kinds):
        self.volume = folder / "state"
        self.volume.mkdir()
        self.training_set = training_set
        self.time = Time()
        self.kinds = kinds
        self.api = ApiServer(*kinds)
        own = {"name": "step", "namespace": "reviews", "labels": {"pipeline/runid": RUN}}
        self.api.pods = [{"metadata": {**own, "ownerReferences": [WORKFLOW]}}]
        self.launched = self.volume / "launched"

    def enter(self, monkeypatch, module):
        """Let a module of the product work here."""
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("STATE_DIR", str(self.volume))
        monkeypatch.setenv("KFP_POD_NAME", "step")
        config = kubeconfig(self.volume.parent, self.api.url)
        monkeypatch.setattr(module, "connect", partial(connect, kubeconfig=config))
        policy = RetryPolicy(30.0, self.time.clock, self.time.sleep, lambda: 1.0)
        monkeypatch.setattr(module, "Objects", partial(Objects, retry_policy=policy))

    def failed_pod(self, name, labels, log, *containers):
        """A pod whose containers have failed."""
        ended = {"terminated": {"exitCode": 1}}
        status = {"image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": ended}
        statuses = [{**status, "name": container} for container in containers]
        metadata = {"name": name, "namespace": "reviews", "labels": labels}
        self.api.pods.append(
            {"metadata": metadata, "status": {"phase": "Failed", "containerStatuses": statuses}}
        )
        self.api.logs[name] = log

    def left_behind(self):
        """What of the step is still there."""
        folders = [path.name for path in self.launched.iterdir()] if self.launched.is_dir() else []
        return [*self.kinds[0].found, *folders]
