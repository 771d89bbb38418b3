"""Kubeflow Pipelines' API over HTTP: health, one experiment, runs and recurring runs."""

from tests.stand_ins.served import Served

MADE = "2026-01-01T00:00:00Z"
EXPERIMENT = {"experiment_id": "e1", "display_name": "review-sentiment", "created_at": MADE}


class PipelinesApi(Served):
    """Keeps what was asked; a run's state is what the test says.

    Attributes:
        asked: Kind, Authorization header and body of each POST.
        schedules: Names of recurring runs by their id.
        runs: States by the id of the run; the first is `r1`.
        removed: What was done to runs, as `terminate r1`.
        refuse: HTTP status that every POST is refused with; 0 refuses none.
        tasks: Details of the tasks of each run.
        made: Called when a run was made.
        health: Status, and body as text, of the health address.
    """

    headers = {"Location": "/dex/auth"}  # noqa: RUF012

    def __init__(self):
        self.asked, self.schedules, self.runs, self.removed, self.refuse = [], {}, {}, [], 0
        self.made, self.tasks = lambda: None, []
        self.health = (200, '{"multi_user": false}')
        super().__init__()

    def handle(self, method, path, query, body, headers):
        if method == "GET":
            return self.get(path)
        if method == "DELETE":
            return self.delete(path)
        return self.post(path, headers.get("Authorization", ""), body)

    def get(self, path):
        if path.endswith("healthz"):
            return self.health
        if "/recurringruns" in path:
            rows = [
                {"recurring_run_id": key, "display_name": name, "created_at": MADE}
                for key, name in self.schedules.items()
            ]
            return 200, {"recurringRuns": rows}
        if "/runs/" in path:
            return 200, self._run(path.rpartition("/")[2])
        return 200, {"experiments": [EXPERIMENT]}

    def post(self, path, token, body):
        kind = path.rpartition("/")[2]
        if ":terminate" in kind:
            self.removed.append(f"terminate {kind.partition(':')[0]}")
            return 200, {}
        self.asked.append((kind, token, body))
        if self.refuse:
            return self.refuse, {"error": "no such permission"}
        if kind == "recurringruns":
            self.schedules["s2"] = body["display_name"]
            return 200, {"recurring_run_id": "s2", "display_name": body["display_name"]}
        if kind == "runs":
            self.runs.setdefault("r1", "PENDING")
            self.made()
            return 200, self._run("r1")
        return 200, EXPERIMENT

    def delete(self, path):
        name = path.rpartition("/")[2]
        if "/recurringruns/" in path:
            del self.schedules[name]
        else:
            self.removed.append(f"delete {name}")
        return 200, {}

    def _run(self, name):
        state = self.runs.get(name, "PENDING")
        made = {"run_id": name, "experiment_id": "e1", "created_at": MADE, "state": state}
        return made | {"run_details": {"task_details": self.tasks}}
