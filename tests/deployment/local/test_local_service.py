import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from components.deployment.local import local_service as subject
from components.deployment.service import Interfered, NotReady, ServiceState
from components.shared.machine.errors import UserError
from tests.deployment.local.followed_file import Killed, Supervisor, deployed


@pytest.fixture
def supervisor(tmp_path):
    return Supervisor(tmp_path / "site")


def test_a_first_deployment_is_a_canary_with_all_of_the_traffic_until_it_is_promoted(supervisor):
    service = supervisor.service("1")
    assert service.state() is None
    service.start(100)
    assert service.state() == ServiceState("", "1", 100)
    service.ready(100)
    service.promote()
    assert service.state() == ServiceState("1")


def test_a_first_deployment_that_is_rolled_back_leaves_nothing(supervisor):
    service = supervisor.service("1")
    service.start(100)
    service.roll_back("it never became ready")
    assert service.state() is None
    service.roll_back("it never became ready")


def test_a_canary_is_started_shifted_and_promoted(supervisor):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10, shadow=True)
    assert service.state() == ServiceState("1", "2", 0)
    assert service.read().shadow
    service.ready(0)
    service.shift(0, 10, following=50, evidence={"seen": 1})
    service.ready(10)
    service.shift(10, 100, following=100)
    assert service.state() == ServiceState("1", "2", 100, evidence={"seen": 1})
    service.promote()
    assert service.state() == ServiceState("2")
    assert supervisor.file.in_effect().versions.keys() == {"2"}


def test_a_rejection_is_remembered_until_the_next_start(supervisor):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10)
    service.shift(0, 10, following=50, evidence={"seen": 1})
    service.ready(10)
    service.roll_back("it was slow" + "." * 2000)
    state = service.state()
    assert (state.stable, state.canary, state.rejected, state.evidence) == ("1", None, "2", {})
    assert state.rejected_because.startswith("it was slow.")
    assert len(state.rejected_because) == 1000
    assert supervisor.file.in_effect().versions.keys() == {"1"}
    service.start(10)
    assert service.state() == ServiceState("1", "2", 0)


def test_the_model_folder_is_copied_once_whole_and_named_after_version_and_weights(
    supervisor, monkeypatch
):
    service = supervisor.service("7")
    (service.candidate.folder / "exported").mkdir()
    (service.candidate.folder / "exported" / "engine.xml").write_text("engine")

    def breaks_off(_, target):
        target.mkdir()
        raise OSError("disk is full")

    monkeypatch.setattr(subject.shutil, "copytree", breaks_off)
    with pytest.raises(OSError, match="disk is full"):
        service.start(100)
    monkeypatch.undo()
    assert service.state() is None
    service.start(100)
    folder = Path(service.read().canary.folder)
    assert folder == service.folder / "models" / service.name / "7-d7d7d7d7d7d7"
    shutil.rmtree(service.candidate.folder)
    assert (folder / "exported" / "engine.xml").read_text() == "engine"
    before = folder.stat().st_ino
    service.roll_back("it was slow")
    service.start(100)
    assert folder.stat().st_ino == before
    service.roll_back("it was slow")
    service.candidate = replace(service.candidate, digest="other" * 10, folder=folder)
    service.start(100)
    assert service.read().canary.folder != str(folder)


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
OTHERS = {
    "is trying version 3 instead": lambda s: (
        s.service().roll_back("by hand"),
        s.service("3").start(10),
    ),
    "gave version 2 30 percent": lambda s: s.service().shift(0, 30, following=50),
    "removed version 2; 1 serves alone": lambda s: s.service().roll_back("by hand"),
    "made version 2 the stable one": lambda s: (
        s.service().shift(0, 100, following=100),
        s.service().promote(),
    ),
    "deleted service review-sentiment": lambda s: s.file.delete(),
}
# What is no interference: a verb that finds its own work done, or another's share to take back.
FINE = {
    ("start", "gave"),
    ("start", "removed"),
    ("promote", "made"),
    ("roll_back", "gave"),
    ("roll_back", "removed"),
    ("roll_back", "deleted"),
}


@pytest.mark.parametrize("what", OTHERS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_someone_else_did_stays_and_is_named(supervisor, verb, what):
    deployed(supervisor)
    service = supervisor.service()
    service.start(10)
    OTHERS[what](supervisor)
    before = supervisor.file.read()
    if (verb, what.split()[0]) in FINE:
        VERBS[verb](service)
        return
    with pytest.raises(Interfered, match=f"someone else {what}|someone {what}"):
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


STEPS = {
    "first": (lambda _: None, lambda s: s.start(100), lambda s: s.ready(100), VERBS["promote"]),
    "undone": (lambda _: None, lambda s: s.start(100), VERBS["roll_back"]),
    "good": (
        deployed,
        VERBS["start"],
        lambda s: s.ready(0) if s.state().percent == 0 else None,
        lambda s: s.shift(0, 100, following=100, evidence={"seen": 1}),
        lambda s: s.ready(100),
        VERBS["promote"],
    ),
    "bad": (
        deployed,
        VERBS["start"],
        lambda s: s.ready(0) if s.state().percent == 0 else None,
        lambda s: s.shift(0, 10, following=50),
        VERBS["roll_back"],
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_killed_before_any_call_and_repeated_each_verb_ends_the_same(tmp_path, name):
    prepare, *verbs = STEPS[name]

    def end(kill_at):
        supervisor = Supervisor(tmp_path / str(kill_at) / "site")
        supervisor.file.folder.mkdir(parents=True)
        prepare(supervisor)
        supervisor.calls, supervisor.kill_at = 0, kill_at
        for verb in verbs:
            try:
                verb(supervisor.service())
            except Killed:
                verb(supervisor.service())
            supervisor.follow()
        wanted = supervisor.file.read()
        models = wanted.models.values() if wanted else ()
        copied = [Path(model.folder).relative_to(supervisor.file.folder) for model in models]
        return supervisor.calls, wanted and wanted.state, copied

    calls, *whole = end(None)
    assert calls > 3
    for kill_at in range(1, calls + 1):
        assert end(kill_at)[1:] == tuple(whole), kill_at
