"""Kubeflow Trainer as a step sees it: what becomes of a TrainJob while it is watched."""


class Trainer:
    """Kubeflow Trainer: at each look at a TrainJob its pods come up, train, and end.

    Attributes:
        train: Called with a TrainJob, once for each, to do the work of its pods.
        ends: The condition that it comes to; none where empty.
        trained: Names of the TrainJobs whose pods have worked.
    """

    def __init__(self, train, ends="Complete"):
        self.train = train
        self.ends = ends
        self.looks = {}
        self.trained = []

    def status(self, job):
        name = job["metadata"]["name"]
        looks = self.looks[job["metadata"]["uid"]] = self.looks.get(job["metadata"]["uid"], 0) + 1
        counts = {"succeeded": 0, "failed": 0, "active": 1, "suspended": 0}
        found = {"jobsStatus": [{"name": "node", "ready": int(looks > 2), **counts}]}
        if looks > 3 and self.ends:
            if name not in self.trained:
                self.trained.append(name)
                self.train(job)
            reason = {"reason": "ReachedMaxRestarts", "message": "no restarts left"}
            found["conditions"] = [{"type": self.ends, "status": "True", **reason}]
        return found
