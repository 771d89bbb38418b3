"""Label Studio's API as far as ours asks it, in memory, with its faults on demand."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx

TOKEN = "0123456789" * 4


class LabelStudioStandIn:
    def __init__(self):
        self.token = TOKEN
        self.refresh_token = ""  # a personal access token, where it takes one
        self.access = 0  # access tokens given out so far
        self.projects, self.tasks, self.votes = {}, {}, {}
        self.people = {
            1: "review@localhost.localdomain",
            2: "anna@example.org",
            3: "Bo@example.org",
        }
        self.faults = []  # of the next requests: a status, an exception, or None
        self.after = []  # the same, but carried out before the answer is lost
        self.requests = []
        self.bad_text = ""  # a task with it is refused, and all that come with it
        self.now = datetime(2026, 11, 1, tzinfo=UTC)

    @property
    def transport(self):
        return httpx.MockTransport(self.answer)

    def answer(self, request):
        self.requests.append(f"{request.method} {request.url.path}")
        if (fault := self.faults.pop(0) if self.faults else None) is not None:
            return self.fail(fault, request)
        answer = self.carried_out(request)
        if (fault := self.after.pop(0) if self.after else None) is not None:
            return self.fail(fault, request)
        return answer

    @staticmethod
    def fail(fault, request):
        if isinstance(fault, int):
            return httpx.Response(fault, text="<h1>sorry</h1>")
        raise fault("no answer", request=request)

    def carried_out(self, request):
        path, method = request.url.path.strip("/"), request.method
        sent = json.loads(request.content) if request.content else None
        asked = {k: v[0] for k, v in parse_qs(urlsplit(str(request.url)).query).items()}
        if path == "health":
            return httpx.Response(200, json={"status": "UP"})
        if path == "api/token/refresh":
            if sent["refresh"] != self.refresh_token:
                return httpx.Response(401, json={"detail": "Token is invalid"})
            self.access += 1
            return httpx.Response(200, json={"access": f"access-{self.access}"})
        wanted = f"Bearer access-{self.access}" if self.refresh_token else f"Token {self.token}"
        if request.headers.get("Authorization") != wanted:
            return httpx.Response(401, json={"detail": "Invalid token."})
        match (method, path.split("/")):
            case ("GET", ["api", "current-user", "whoami"]):
                return httpx.Response(200, json={"id": 1})
            case ("GET", ["api", "users"]):
                return httpx.Response(
                    200, json=[{"id": n, "email": email} for n, email in self.people.items()]
                )
            case ("GET", ["api", "invite"]):
                return httpx.Response(200, json={"invite_url": "/user/signup/?token=abc"})
            case ("GET", ["api", "projects"]):
                found = list(self.projects.values())
                return httpx.Response(200, json={"results": found, "next": None})
            case ("POST", ["api", "projects"]):
                number = len(self.projects) + 1
                self.projects[number] = {**sent, "id": number}
                return httpx.Response(201, json=self.projects[number])
            case (_, ["api", "projects", number, *rest]):
                if int(number) not in self.projects:
                    return httpx.Response(404, json={"detail": "No Project matches"})
                return self.project(int(number), method, rest, sent)
            case ("GET", ["api", "tasks"]):
                return self.page(asked)
            case ("DELETE", ["api", "tasks", number]):
                there = self.tasks.pop(int(number), None)
                return httpx.Response(204 if there else 404, json=None if there else {"detail": ""})
        raise AssertionError(f"{method} {path} is not known to the stand-in")

    def project(self, number, method, rest, sent):
        match (method, rest):
            case ("GET", []):
                return httpx.Response(200, json=self.projects[number])
            case ("PATCH", []):
                self.projects[number] |= sent
                return httpx.Response(200, json=self.projects[number])
            case ("POST", ["import"]):
                if self.bad_text and self.bad_text in json.dumps(sent):
                    detail = {"validation_errors": {"non_field_errors": ["bad"]}}
                    return httpx.Response(400, json=detail)
                for one in sent:
                    self.tasks[len(self.requests) * 10_000 + len(self.tasks)] = {
                        **one,
                        "project": number,
                    }
                return httpx.Response(201, json={"task_count": len(sent)})
            case ("GET", ["export"]):
                made = [
                    {"id": n, "data": task["data"], "annotations": self.votes[n]}
                    for n, task in self.tasks.items()
                    if task["project"] == number and self.votes.get(n)
                ]
                return httpx.Response(200, json=made)
        raise AssertionError(f"{method} {rest} is not known to the stand-in")

    def page(self, asked):
        page, size = int(asked["page"]), int(asked["page_size"])
        found = [
            {"id": n, "data": task["data"]}
            for n, task in sorted(self.tasks.items())
            if task["project"] == int(asked["project"])
        ]
        shown = found[(page - 1) * size : page * size]
        return httpx.Response(200, json={"tasks": shown, "total": len(found)})

    def vote(self, item, person, *choices, result=None, cancelled=False, minutes=0):
        (task,) = [n for n, one in self.tasks.items() if one["data"]["item_id"] == item]
        part = {"from_name": "sentiment", "to_name": "text", "type": "choices"}
        said = [part | {"value": {"choices": list(choices)}}] if choices else []
        when = self.now + timedelta(minutes=minutes)
        votes = self.votes.setdefault(task, [])
        number = sum(map(len, self.votes.values())) + 1
        votes.append(
            {
                **{"id": number, "unique_id": f"vote-{number}", "completed_by": person},
                **{"result": said if result is None else result, "was_cancelled": cancelled},
                **{"updated_at": when.isoformat().replace("+00:00", "Z"), "lead_time": 2.5},
            }
        )
