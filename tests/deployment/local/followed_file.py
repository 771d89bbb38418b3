"""A service on one machine without servers: a stand-in for the supervisor that follows the file."""

from components.deployment.local.local_service import LocalService
from components.deployment.local.service_file import InEffect, ServiceFile, VersionInEffect
from components.deployment.service import Candidate

NAME = "review-sentiment"
URL = "http://127.0.0.1:8080"


class Killed(BaseException):
    """The process was killed: nothing may catch it."""


class Supervisor:
    """Follows a service's file while others wait.

    Attributes:
        now: Seconds that have passed, by waiting only.
        broken: Versions whose servers never become ready.
        interferes: Called before each wait.
        calls: Reads and changes of the file up to now.
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
        self.file.show(InEffect(URL, versions=versions))

    def service(self, version="2", arguments=()):
        """The service with a version to try, whose model folder is made."""
        folder = self.file.folder.parent / f"run-{version}"
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_text(f"weights of {version}")
        return _Killable(
            self.file.folder,
            NAME,
            Candidate(version, folder, f"file://{folder}", f"d{version}" * 20),
            arguments,
            ready_within_seconds=5,
            clock=lambda: self.now,
            sleep=self.sleep,
            supervisor=self,
        )

    def called(self):
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed


class _Killable(LocalService):
    def __init__(self, *given, supervisor, **options):
        self._supervisor = supervisor
        super().__init__(*given, **options)

    def read(self):
        self._supervisor.called()
        return super().read()

    def change(self, decide):
        self._supervisor.called()
        super().change(decide)


def deployed(supervisor, version="1", arguments=()):
    """A first version that serves."""
    service = supervisor.service(version, arguments)
    service.start(100)
    service.ready(100)
    service.promote()
    return service
