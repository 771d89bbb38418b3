"""Who may sign in to Label Studio, and what a reviewer may do there.

Its open edition knows no roles: whoever has signed in may change the project, delete tasks, read
everybody's votes and lock everybody out. Two middlewares end that. An administrator (`is_staff`)
may do as before: the pipeline is one, and whoever has the password of the first account.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse

Next = Callable[[HttpRequest], HttpResponse]

_N = r"\d+"
_ALLOWED = {
    "GET": (
        *("", "projects", f"projects/{_N}", f"projects/{_N}/data"),
        *("static/.*", "react-app/.*", "dm/.*", "label-studio-frontend/.*", r"favicon\.ico"),
        *(r"sw\.js", r"sw-fallback\.js", "health", "version", "api/version"),
        *("user/login", "user/signup", "logout", "feature-flags"),
        *("api/projects", f"api/projects/{_N}", f"api/projects/{_N}/next"),
        *(f"api/projects/{_N}/label-stream-history", "api/projects/counts"),
        *("api/current-user/(whoami|hotkeys|product-tour|token)",),
        *("api/dm/(views|columns|project|actions)", "api/ml", "api/label_links"),
        *("api/tasks", "api/users"),  # answered here
    ),
    "POST": ("user/login", "user/signup", "api/dm/actions", "api/dm/views", "api/dm/project"),
    "PATCH": ("api/current-user/(hotkeys|product-tour)",),
}
"""What the pages ask for; all of it says nothing about what others voted."""

_TASK = re.compile(f"api/tasks/({_N})")
_VOTES = re.compile(f"api/tasks/({_N})/(annotations|drafts)")
_OWN = re.compile(f"api/(annotations|drafts)/({_N})")
_OWN_DRAFTS = re.compile(f"api/tasks/{_N}/annotations/({_N})/drafts")
_FIELDS = {
    *("result", "was_cancelled", "lead_time", "draft_id", "started_at", "ground_truth"),
    *("parent_annotation", "parent_prediction", "task", "project", "unique_id"),
}
"""What a vote or its draft may say; whose it is, is not among them."""

_LISTS = re.compile(f"|projects|projects/{_N}|projects/{_N}/data")
_NOBODY = re.compile("heidi-tips|trigger500")
"""Pages that ask a site outside, or fail on purpose."""


class PlatformSignIn:
    """Signs in whom the platform's header names, where the settings name such a header."""

    def __init__(self, get_response: Next) -> None:
        """Called once by Django."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Sign in, unless the person has already."""
        header = settings.REVIEW_SIGN_IN_HEADER
        port = settings.REVIEW_SIGN_IN_PORT
        if header and request.META.get("SERVER_PORT") == port:
            email = (request.headers.get(header) or "").strip().lower()
            try:
                validate_email(email)
            except ValidationError:
                return _refused(f"the header {header} names nobody by an e-mail address")
            if getattr(request.user, "email", "") != email:
                _sign_in(request, email)
            if request.user.is_staff:
                return _refused("an administrator signs in by password, not through the platform")
        return self.get_response(request)


def _sign_in(request: HttpRequest, email: str) -> None:
    from organizations.models import Organization

    user = get_user_model().objects.filter(email=email).first()
    if user is None:
        user = get_user_model().objects.create_user(email=email)  # no password opens it
    organization = Organization.objects.first()
    organization.add_user(user)
    user.active_organization = organization
    user.save(update_fields=["active_organization"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    # Label Studio signs out whose session is too old, and one without a beginning is.
    request.session["last_login"] = time.time()


class ReviewersMayOnlyReview:
    """Refuses (403) what is not needed to vote, for everyone who is not an administrator."""

    def __init__(self, get_response: Next) -> None:
        """Called once by Django."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on what everyone who asks may do; those who are nobody are Label Studio's to ask."""
        path = request.path_info.strip("/")
        if _NOBODY.fullmatch(path):
            return _refused("this page is switched off")
        reviewers = [person for person in _people(request) if not person.is_staff]
        for person in reviewers:
            if why := _fault(request, path, person.pk):
                return _refused(why)
        if not reviewers:
            return self.get_response(request)
        answer = _instead(request, path, reviewers[-1]) or self.get_response(request)
        if _TASK.fullmatch(path) and answer.status_code == 200:
            return _own_part(answer, reviewers[-1].pk)
        return answer


def _instead(request: HttpRequest, path: str, person: Any) -> HttpResponse | None:
    """What a reviewer is shown in place of a list, which would tell votes: the next review."""
    if request.method == "GET" and path == "api/tasks":
        return JsonResponse(
            {"tasks": [], "total": 0, "total_annotations": 0, "total_predictions": 0}
        )
    if request.method == "GET" and path == "api/users":
        from users.serializers import UserSerializer

        return JsonResponse([UserSerializer(person).data], safe=False)
    if request.method == "GET" and _LISTS.fullmatch(path) and "labeling" not in request.GET:
        from projects.models import Project
        from tasks.models import Task

        project = Project.objects.filter(organization=person.active_organization).last()
        open_tasks = Task.objects.filter(project__organization=person.active_organization)
        waiting = open_tasks.filter(is_labeled=False).exclude(annotations__completed_by=person)
        if task := waiting.order_by("-project_id").first():
            project = task.project
        if project is not None:
            prefix = settings.FORCE_SCRIPT_NAME or ""
            return HttpResponseRedirect(f"{prefix}/projects/{project.pk}/data?labeling=1")
    return None


def _own_part(answer: HttpResponse, person: int) -> HttpResponse:
    """A task as a reviewer may see it: with their own vote, and drafts, which are theirs anyway."""
    task = json.loads(answer.content)
    kept = ("id", "data", "project", "created_at", "drafts")
    shown = {name: task[name] for name in kept if name in task}
    shown |= {"annotations": [], "predictions": []}
    for one in task.get("annotations") or []:
        by = one.get("completed_by")
        if (by.get("id") if isinstance(by, dict) else by) == person:
            shown["annotations"].append(one)
    return JsonResponse(shown)


def _people(request: HttpRequest) -> Iterator[Any]:
    """Everyone in whose name the request may be carried out: of the session, and of a token.

    The views look at a token themselves, later, and then it counts more than the session.
    """
    from rest_framework.authtoken.models import Token

    if request.user.is_authenticated:
        yield request.user
    words = request.headers.get("Authorization", "").split()
    if len(words) == 2 and words[0].lower() == "token":
        token = Token.objects.select_related("user").filter(key=words[1]).first()
        if token is not None:
            yield token.user


def _fault(request: HttpRequest, path: str, person: int) -> str:
    """Why a reviewer may not do this; nothing where it is allowed."""
    method = "GET" if request.method == "HEAD" else str(request.method)
    if any(re.fullmatch(one, path) for one in _ALLOWED.get(method, ())):
        return "" if path == "api/tasks" else _fault_in_question(request, path, method)
    if method == "GET" and (found := _TASK.fullmatch(path)):
        return _fault_in_task(int(found[1]), person)
    if method == "POST" and _VOTES.fullmatch(path):
        return _fault_in_vote(request)
    if method in ("POST", "PATCH", "GET") and (found := _OWN_DRAFTS.fullmatch(path)):
        return _fault_in_owner("annotations", person, pk=int(found[1])) or _fault_in_vote(request)
    if (found := _OWN.fullmatch(path)) and (
        method in ("GET", "PATCH") or (method == "DELETE" and found[1] == "drafts")
    ):
        return _fault_in_owner(found[1], person, pk=int(found[2])) or _fault_in_vote(request)
    return "reviewers may only review"


def _fault_in_question(request: HttpRequest, path: str, method: str) -> str:
    """Why this may not be asked: a filter on the votes of a task would tell them, or choose it."""
    if path == "api/dm/actions" and method == "POST" and request.GET.get("id") != "next_task":
        return "reviewers may only review"
    if path.startswith("api/") and {"query", "view"} & request.GET.keys():
        return "reviewers get the next review, whichever it is"
    if method == "GET":
        return "" if not request.body else "reviewers get the next review, whichever it is"
    if path != "api/dm/actions":
        return ""
    asked = _json_of(request)
    chosen = [
        *((asked.get("filters") or {}).get("items") or ()),
        *((asked.get("selectedItems") or {}).get("included") or ()),
        *((asked.get("selectedItems") or {}).get("excluded") or ()),
        *(asked.get("ordering") or ()),
    ]
    return "reviewers get the next review, whichever it is" if chosen else ""


def _fault_in_task(task: int, person: int) -> str:
    """Why this task is not to be seen: it is neither theirs to vote on now, nor has been."""
    from tasks.models import TaskLock

    kinds = ("annotations", "drafts")
    mine = not all(_fault_in_owner(kind, person, task=task) for kind in kinds)
    if mine or TaskLock.objects.filter(task=task, user=person).exists():
        return ""
    return "reviewers get the next review, whichever it is"


def _fault_in_owner(kind: str, person: int, **which: int) -> str:
    """Why this annotation or draft, or all of a task, are not theirs."""
    from tasks.models import Annotation, AnnotationDraft

    model, owner = (Annotation, "completed_by")
    if kind == "drafts":
        model, owner = (AnnotationDraft, "user")
    is_own = model.objects.filter(**{owner: person}, **which).exists()
    return "" if is_own else "this is not yours"


def _fault_in_vote(request: HttpRequest) -> str:
    """Why a vote cannot be taken: Label Studio believes whatever a vote says about whose it is."""
    if request.method == "GET" or not request.body:
        return ""
    said = _json_of(request)
    if not said:
        return "a vote is JSON"
    unknown = sorted(said.keys() - _FIELDS)
    return f"a vote may not say {', '.join(unknown)}" if unknown else ""


def _json_of(request: HttpRequest) -> dict[str, Any]:
    """The body; empty where it is no JSON object, which Label Studio would take as a form too."""
    try:
        said = json.loads(request.body) if request.content_type == "application/json" else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def _refused(why: str) -> HttpResponse:
    return JsonResponse({"detail": why}, status=403)
