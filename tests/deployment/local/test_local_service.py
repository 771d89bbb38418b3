import shutil
from dataclasses import replace

import pytest

from components.deployment.local.local_service import LocalService
from components.deployment.local.service_file import InEffect, ServiceFile, VersionInEffect
from components.deployment.service import Candidate, Interfered, NotReady, ServiceState
from components.shared.machine.errors import UserError
from tests.deployment.rollout_world import Killed

NAME = "review-sentiment"


class Supervisor:
    """A stand-in that follows a service's file while others wait, at no time at all.

    `broken` are versions whose servers never become ready; a run is killed before the read or
    change of the file number `kill_at`.
    """

    def __init__(self, folder):
        self.file = ServiceFile(folder, NAME)
        self.now, self.calls, self.kill_at, self.broken = 0.0, 0, None, set()

    def sleep(self, seconds):
        self.now += seconds
        self.follow()

    def follow(self):
        wanted, shown = self.file.read(), {}
        for model in wanted.models.values() if wanted else ():
            percent = wanted.percent if model is wanted.canary else 100 - wanted.percent
            up = model.version not in self.broken
            effect = (1, percent) if up else (None, 0, "no weights")
            shown[model.version] = VersionInEffect(*effect)
        self.file.show(InEffect("http://127.0.0.1:8080", versions=shown))

    def service(self, version="2", arguments=()):
        """The service with a version to try, whose model folder is made."""
        folder = self.file.folder.parent / f"run-{version}"
        folder.mkdir(parents=True, exist_ok=True)
        candidate = Candidate(version, folder, f"file://{folder}", f"d{version}" * 20)
        given = arguments, 5, lambda: self.now, self.sleep
        made = LocalService(self.file.folder, NAME, candidate, *given)
        read, change = made.read, made.change
        made.read = lambda: self.counted(read)
        made.change = lambda decide: self.counted(change, decide)
        return made

    def counted(self, method, *given):
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        return method(*given)

    def deploy(self, version="1", arguments=()):
        service = self.service(version, arguments)
        service.start(100)
        service.ready(100)
        service.promote()

    def start(self, percent=0):
        """The service with version 2 started beside 1, at a share."""
        self.deploy()
        service = self.service()
        service.start(10)
        if percent:
            service.shift(0, percent, following=100, evidence={"seen": 1})
        return service


@pytest.fixture
def supervisor(tmp_path):
    return Supervisor(tmp_path / "site")


def test_a_first_deployment_is_a_canary_with_all_of_the_traffic_until_it_is_promoted(supervisor):
    service = supervisor.service("1")
    assert service.state() is None
    service.start(100)
    assert service.state() == ServiceState("", "1", 100)
    service.roll_back("it never became ready")
    assert service.state() is None
    supervisor.deploy()
    assert service.state() == ServiceState("1")


def test_a_canary_is_started_shifted_and_rolled_back_or_promoted(supervisor):
    service = supervisor.start(10)
    service.shift(10, 50, following=100)
    assert service.state() == ServiceState("1", "2", 50, evidence={"seen": 1})
    service.roll_back("it was slow" + "." * 2000)
    reason = "it was slow" + "." * 989
    assert service.state() == ServiceState("1", rejected="2", rejected_because=reason)
    assert supervisor.file.in_effect().versions.keys() == {"1"}
    service.start(10, shadow=True)
    assert service.read().shadow
    assert service.state() == ServiceState("1", "2", 0)
    service.shift(0, 100, following=100)
    service.promote()
    assert service.state() == ServiceState("2")
    assert supervisor.file.in_effect().versions.keys() == {"2"}


def test_the_model_folder_is_copied_once_and_whole(supervisor, monkeypatch):
    service = supervisor.service("7")
    (service.candidate.folder / "exported").mkdir()
    (service.candidate.folder / "exported" / "engine.xml").write_text("engine")
    copy = service.folder / "models" / NAME / "7-d7d7d7d7d7d7"

    def breaks_off(_, target):
        target.mkdir()
        raise OSError("disk is full")

    monkeypatch.setattr(shutil, "copytree", breaks_off)
    with pytest.raises(OSError, match="disk is full"):
        service.start(100)
    monkeypatch.undo()
    assert not copy.exists()
    assert service.state() is None
    service.start(100)
    shutil.rmtree(service.candidate.folder)
    assert (copy / "exported" / "engine.xml").read_text() == "engine"
    service.roll_back("it was slow")
    service.start(100)
    assert service.read().canary.folder == str(copy)
    service.roll_back("it was slow")
    service.candidate = replace(service.candidate, digest="other" * 10, folder=copy)
    service.start(100)
    assert service.read().canary.folder == str(copy.with_name("7-otherotherot"))


def test_a_canary_has_the_arguments_of_the_stable_version_unless_it_is_given_others(supervisor):
    supervisor.deploy(arguments=("--engine=torch",))
    for given, served in (((), ("--engine=torch",)), (("--threads=1",), ("--threads=1",))):
        supervisor.service("2", given).start(10)
        assert supervisor.file.read().canary.arguments == served
        supervisor.service("2").roll_back("it was slow")


VERBS = {
    "start": lambda service: service.start(10),
    "shift": lambda service: service.shift(0, 10, following=50),
    "ready": lambda service: service.ready(0),
    "promote": lambda service: service.promote(),
    "roll_back": lambda service: service.roll_back("it was slow"),
}
# What others do to the canary.
OTHERS = {
    "is trying version 3": lambda s: (s.service().roll_back("by hand"), s.service("3").start(10)),
    "gave version 2 30 percent": lambda s: s.service().shift(0, 30, following=50),
    "removed version 2; 1 serves alone": lambda s: s.service().roll_back("by hand"),
    "made version 2": lambda s: (s.service().shift(0, 100, following=9), s.service().promote()),
    "deleted service": lambda s: s.file.delete(),
}
# The verbs that go on all the same: they find their work done, or take back whatever share it is.
GOES_ON = {"start": ("gave", "removed"), "promote": ("made",)}
GOES_ON["roll_back"] = ("gave", "removed", "deleted")


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_someone_else_did_stays_and_is_named(supervisor, verb, what):
    service = supervisor.start()
    OTHERS[what](supervisor)
    before = supervisor.file.read()
    if what.startswith(GOES_ON.get(verb, ())):
        VERBS[verb](service)
        return
    with pytest.raises(Interfered, match=f"someone (else )?{what}"):
        VERBS[verb](service)
    assert supervisor.file.read() == before


def test_someone_who_came_first_or_comes_while_it_waits_is_noticed(supervisor):
    service = supervisor.start()
    supervisor.follow = lambda: supervisor.file.change(lambda now: replace(now, percent=7))
    with pytest.raises(Interfered, match="gave version 2 7 percent"):
        service.ready(0)
    with pytest.raises(Interfered, match="is trying version 2 instead"):
        supervisor.service("3").start(100)


@pytest.mark.parametrize("verb", ["ready", "promote", "roll_back"])
def test_what_does_not_come_into_effect_in_time_is_reported_with_the_reason(supervisor, verb):
    supervisor.broken = {"2"}
    service = supervisor.start(100 if verb == "promote" else 0)
    supervisor.follow()
    supervisor.follow = lambda: None
    before = supervisor.now
    error = NotReady if verb == "ready" else UserError
    with pytest.raises(error, match=r"not as wanted within 5 s; .*no weights"):
        VERBS[verb](service)
    assert supervisor.now - before == pytest.approx(5, abs=0.2)


def ready_where_without_a_share(service):
    """The verb that a run which goes on leaves out once its canary has a share."""
    if service.state().percent == 0:
        service.ready(0)


BEGUN = (VERBS["start"], ready_where_without_a_share)
RUNS = {
    "first deployment": (lambda s: s.start(100), lambda s: s.ready(100), VERBS["promote"]),
    "first deployment undone": (lambda s: s.start(100), VERBS["roll_back"]),
    "promotion": (*BEGUN, lambda s: s.shift(0, 100, following=100), VERBS["promote"]),
    "rollback": (*BEGUN, VERBS["shift"], VERBS["roll_back"]),
}


@pytest.mark.parametrize("name", RUNS)
def test_killed_before_any_call_and_repeated_each_verb_ends_the_same(tmp_path, name):
    def end(kill_at):
        supervisor = Supervisor(tmp_path / str(kill_at) / "site")
        if "first" not in name:
            supervisor.deploy()
        supervisor.calls, supervisor.kill_at = 0, kill_at
        for verb in RUNS[name]:
            try:
                verb(supervisor.service())
            except Killed:
                verb(supervisor.service())
            supervisor.follow()
        return supervisor.calls, supervisor.file.state()

    calls, whole = end(None)
    assert calls > 3
    assert all(end(kill_at)[1] == whole for kill_at in range(1, calls + 1))
