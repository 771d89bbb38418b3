import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.deployment.local.local_service import LocalService
from components.deployment.local.service_file import InEffect, ServiceFile, VersionInEffect
from components.deployment.service import Candidate, Interfered, NotReady, ServiceState
from components.shared.machine.errors import UserError

NAME = "review-sentiment"


class Killed(BaseException):
    """The process was killed: nothing may catch it."""


class Supervisor:
    """Stands for the supervisor: it follows a service's file while others wait.

    Attributes:
        broken: Versions whose servers never become ready.
        interferes: Called before each wait.
        calls: Changes and reads of the file up to now.
        kill_at: Number of the one before which the process is killed.
    """

    def __init__(self, folder):
        self.file = ServiceFile(folder, NAME)
        self.now, self.calls = 0.0, 0
        self.broken, self.interferes, self.kill_at = set(), lambda: None, None

    def sleep(self, seconds):
        self.now += seconds
        self.interferes()
        self.follow()

    def follow(self):
        wanted = self.file.read()
        versions = {}
        for model in wanted.models.values() if wanted else ():
            share = wanted.percent if model is wanted.canary else 100 - wanted.percent
            broken = model.version in self.broken
            versions[model.version] = VersionInEffect(
                *((None, 0, "the weights are broken") if broken else (20_000, share))
            )
        self.file.show(InEffect("http://127.0.0.1:8080", versions=versions))

    def service(self, version="2", arguments=()):
        """The service with a version to try, whose model folder is made."""
        folder = self.file.folder.parent / f"run-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        candidate = Candidate(version, folder, f"file://{folder}", f"d{version}" * 20)
        made = LocalService(
            self.file.folder, NAME, candidate, arguments, 5, lambda: self.now, self.sleep
        )
        for name in ("read", "change"):
            setattr(made, name, self.counted(getattr(made, name)))
        return made

    def counted(self, method):
        def call(*given):
            self.calls += 1
            if self.calls == self.kill_at:
                raise Killed
            return method(*given)

        return call


def deployed(supervisor, version="1", arguments=()):
    """A first version that serves."""
    service = supervisor.service(version, arguments)
    service.start(100)
    service.ready(100)
    service.promote()


@pytest.fixture
def supervisor(tmp_path):
    return Supervisor(tmp_path / "site")


def test_a_first_deployment_is_a_canary_with_all_of_the_traffic_until_it_is_promoted(supervisor):
    service = supervisor.service("1")
    assert service.state() is None
    service.start(100)
    assert service.state() == ServiceState("", "1", 100)
    service.ready(100)
    service.roll_back("it never became ready")
    assert service.state() is None
    service.roll_back("it never became ready")
    deployed(supervisor)
    assert service.state() == ServiceState("1")


def test_a_canary_is_started_shifted_and_rolled_back_or_promoted(supervisor):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10, shadow=True)
    assert service.state() == ServiceState("1", "2", 0)
    assert service.read().shadow
    service.shift(0, 10, following=50, evidence={"seen": 1})
    service.shift(10, 50, following=100)
    assert service.state() == ServiceState("1", "2", 50, evidence={"seen": 1})
    service.roll_back("it was slow" + "." * 2000)
    reason = "it was slow" + "." * 989
    assert service.state() == ServiceState("1", rejected="2", rejected_because=reason)
    assert supervisor.file.in_effect().versions.keys() == {"1"}
    service.start(10)
    assert service.state() == ServiceState("1", "2", 0)
    service.shift(0, 100, following=100)
    service.promote()
    assert service.state() == ServiceState("2")
    assert supervisor.file.in_effect().versions.keys() == {"2"}


def test_the_model_folder_is_copied_once_and_whole(supervisor, monkeypatch):
    service = supervisor.service("7")
    (service.candidate.folder / "exported").mkdir()
    (service.candidate.folder / "exported" / "engine.xml").write_text("engine")
    copy = service.folder / "models" / service.name / "7-d7d7d7d7d7d7"

    def breaks_off(_, target):
        target.mkdir()
        raise OSError("disk is full")

    monkeypatch.setattr(shutil, "copytree", breaks_off)
    with pytest.raises(OSError, match="disk is full"):
        service.start(100)
    monkeypatch.undo()
    assert service.state() is None
    assert not copy.exists()
    service.start(100)
    assert service.read().canary.folder == str(copy)
    shutil.rmtree(service.candidate.folder)
    assert (copy / "exported" / "engine.xml").read_text() == "engine"
    service.roll_back("it was slow")
    service.start(100)  # from the copy
    service.roll_back("it was slow")
    service.candidate = replace(service.candidate, digest="other" * 10, folder=copy)
    service.start(100)
    assert service.read().canary.folder == str(copy.with_name("7-otherotherot"))


def test_a_canary_has_the_arguments_of_the_stable_version_unless_it_is_given_others(supervisor):
    deployed(supervisor, arguments=("--engine=torch",))
    supervisor.service("2").start(10)
    assert supervisor.file.read().canary.arguments == ("--engine=torch",)
    supervisor.service("2").roll_back("it was slow")
    supervisor.service("3", ("--drain-seconds=5",)).start(10)
    assert supervisor.file.read().canary.arguments == ("--drain-seconds=5",)


VERBS = {
    "start": lambda service: service.start(10),
    "shift": lambda service: service.shift(0, 10, following=50),
    "ready": lambda service: service.ready(0),
    "promote": lambda service: service.promote(),
    "roll_back": lambda service: service.roll_back("it was slow"),
}
# What others do to the canary, and the verbs that go on all the same: they find their work done,
# or take back whatever share there is.
OTHERS = {
    "is trying version 3 instead": (
        lambda s: (s.service().roll_back("by hand"), s.service("3").start(10)),
        (),
    ),
    "gave version 2 30 percent": (
        lambda s: s.service().shift(0, 30, following=50),
        ("start", "roll_back"),
    ),
    "removed version 2; 1 serves alone": (
        lambda s: s.service().roll_back("by hand"),
        ("start", "roll_back"),
    ),
    "made version 2 the stable one": (
        lambda s: (s.service().shift(0, 100, following=100), s.service().promote()),
        ("promote",),
    ),
    "deleted service review-sentiment": (lambda s: s.file.delete(), ("roll_back",)),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_someone_else_did_stays_and_is_named(supervisor, verb, what):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10)
    interfere, goes_on = OTHERS[what]
    interfere(supervisor)
    before = supervisor.file.read()
    if verb in goes_on:
        VERBS[verb](service)
        return
    with pytest.raises(Interfered, match=f"someone (else )?{what}"):
        VERBS[verb](service)
    assert supervisor.file.read() == before


def test_a_first_deployment_beside_another_that_came_first_is_refused(supervisor):
    deployed(supervisor)
    with pytest.raises(Interfered, match="1 serves alone"):
        supervisor.service().start(100)
    assert supervisor.file.state() == ServiceState("1")


def test_someone_who_interferes_while_it_waits_is_noticed(supervisor):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10)
    supervisor.interferes = lambda: supervisor.file.change(lambda now: replace(now, percent=7))
    with pytest.raises(Interfered, match="gave version 2 7 percent"):
        service.ready(0)


def test_a_canary_that_never_becomes_ready_is_reported_with_the_reason(supervisor):
    deployed(supervisor)
    supervisor.broken = {"2"}
    service = supervisor.service()
    service.start(10)
    with pytest.raises(NotReady, match=r"not as wanted within 5 s; .*the weights are broken"):
        service.ready(0)
    assert service.state().canary == "2"
    service.roll_back("it never became ready")


@pytest.mark.parametrize("verb", ["promote", "roll_back"])
def test_a_supervisor_that_does_not_follow_is_reported(supervisor, verb):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10)
    service.shift(0, 100, following=100)
    service.ready(100)
    supervisor.follow = lambda: None
    with pytest.raises(UserError, match=r"not as wanted within 5 s; no site runs"):
        VERBS[verb](service)


def ready_where_without_a_share(service):
    """The verb that a run which goes on leaves out once its canary has a share."""
    if service.state().percent == 0:
        service.ready(0)


RUNS = {
    "first deployment": (lambda s: s.start(100), lambda s: s.ready(100), VERBS["promote"]),
    "first deployment undone": (lambda s: s.start(100), VERBS["roll_back"]),
    "promotion": (
        VERBS["start"],
        ready_where_without_a_share,
        lambda s: s.shift(0, 100, following=100, evidence={"seen": 1}),
        VERBS["promote"],
    ),
    "rollback": (
        VERBS["start"],
        ready_where_without_a_share,
        VERBS["shift"],
        VERBS["roll_back"],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_killed_before_any_call_and_repeated_each_verb_ends_the_same(tmp_path, name):
    def end(kill_at):
        supervisor = Supervisor(tmp_path / str(kill_at) / "site")
        if "first" not in name:
            deployed(supervisor)
        supervisor.calls, supervisor.kill_at = 0, kill_at
        for verb in RUNS[name]:
            try:
                verb(supervisor.service())
            except Killed:
                verb(supervisor.service())
            supervisor.follow()
        wanted = supervisor.file.read()
        models = wanted.models.values() if wanted else ()
        copied = [Path(model.folder).relative_to(supervisor.file.folder) for model in models]
        return supervisor.calls, (wanted and wanted.state, copied)

    calls, whole = end(None)
    assert calls > 3
    assert all(end(kill_at)[1] == whole for kill_at in range(1, calls + 1))
