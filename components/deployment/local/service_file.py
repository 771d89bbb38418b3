"""What one machine serves, in two small files.

`<folder>/<name>.json` says what is wanted; whoever changes it holds a lock. The supervisor
(`components.deployment.local.site`) reads it, and writes what it has made of it to
`<folder>/<name>/in_effect.json`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass as checked

from components.deployment.service import ServiceState
from components.shared.machine.commands import make_command
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json

_Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_Name = Annotated[str, Field(pattern=r"^[^\x00]+$")]
_AS_WRITTEN = ConfigDict(extra="forbid", strict=True)


@checked(frozen=True, config=_AS_WRITTEN)
class ServedModel:
    """What a server serves; two of them are equal where one process can stand for both.

    Attributes:
        name: Name in the URLs.
        folder: The model folder.
        version: Version in the registry, named in every answer.
        digest: Digest of the list of its files, in the registry.
        arguments: Further arguments of the server.
    """

    name: _Name
    folder: _Name
    version: _Name
    digest: _Text = ""
    arguments: tuple[_Text, ...] = ()

    @property
    def key(self) -> str:
        """Short name that differs for different models, fit for a file's name."""
        content = json.dumps([self.name, self.folder, self.version, self.digest, self.arguments])
        readable = "".join(c if c.isalnum() or c in "._" else "_" for c in self.version)[:24]
        return f"v{readable}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"


@checked(frozen=True, config=_AS_WRITTEN)
class Wanted:
    """What is to be served; the content of the service's file.

    Attributes:
        stable: Gets the traffic that the canary does not; None during a first deployment.
        canary: The version that is being tried.
        percent: The canary's share of the traffic.
        shadow: Whether a canary without a share gets a copy of each request.
        rejected: Last version that was rolled back.
        rejected_because: Why, in one sentence.
        evidence: What the rollout keeps for itself.
    """

    stable: ServedModel | None
    canary: ServedModel | None = None
    percent: int = Field(0, ge=0, le=100)
    shadow: bool = False
    rejected: str | None = None
    rejected_because: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.stable is None and (self.canary is None or self.percent != 100):
            raise ValueError("without a stable version there has to be a canary at 100 percent")
        if self.canary is None and self.percent:
            raise ValueError("without a canary the percent has to be 0")
        if self.stable and self.canary and self.stable.version == self.canary.version:
            raise ValueError("canary and stable version have to be different versions")
        return self

    @property
    def models(self) -> dict[str, ServedModel]:
        """The models to serve, by key."""
        return {model.key: model for model in (self.stable, self.canary) if model}

    @property
    def state(self) -> ServiceState:
        """The same as a rollout sees it."""
        return ServiceState(
            self.stable.version if self.stable else "",
            self.canary.version if self.canary else None,
            self.percent,
            self.rejected,
            self.rejected_because,
            self.evidence,
        )


@dataclass(frozen=True)
class VersionInEffect:
    """A version as it is served now.

    Attributes:
        port: Port of its server on 127.0.0.1; None where it is not ready.
        percent: Its share of the traffic.
        failure: Why its server failed last; empty where it did not, or that is over.
    """

    port: int | None = None
    percent: int = 0
    failure: str = ""


@dataclass(frozen=True)
class InEffect:
    """What the supervisor has made of the file.

    Attributes:
        url: Where the traffic is split; empty where nothing is served.
        fault: Why the traffic is not split as wanted; empty where it is.
        versions: The versions that are wanted.
    """

    url: str = ""
    fault: str = ""
    versions: dict[str, VersionInEffect] = field(default_factory=dict)


_IN_EFFECT_FILE, _SITE_LOCK = "in_effect.json", "site.lock"
_MOST_BYTES = 16 * 2**20  # a rollout's evidence has some thousand; the site reads it at each look
_MOST_SAID = 300
_WANTED, _IN_EFFECT = TypeAdapter(Wanted), TypeAdapter(InEffect)


@dataclass
class ServiceFile:
    """The files of one service.

    Attributes:
        folder: Folder of the supervisor's state.
        name: Name of the service.
        path: What is wanted, as JSON.
        site_folder: Where the supervisor keeps its own files.
    """

    folder: Path
    name: str
    path: Path = field(init=False)
    site_folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = Path(self.folder).expanduser().resolve()
        self.path = self.folder / f"{self.name}.json"
        self.site_folder = self.folder / self.name

    def read(self) -> Wanted | None:
        """What is wanted; None where nothing was ever deployed.

        Raises:
            UserError: If the file holds anything else.
        """
        try:
            with self.path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
            if len(content) <= _MOST_BYTES:
                return self._placed(_WANTED.validate_json(content), self._absolute)
            what = f"it has more than {_MOST_BYTES} bytes"
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            what = f"{place}{': ' * bool(place)}{first['msg']}"
            what = "".join(one if one.isprintable() else " " for one in what)
            what = what if len(what) <= _MOST_SAID else f"{what[:_MOST_SAID]}…"
        except OSError as error:
            what = str(error)
        raise UserError(
            f"{self.path} does not describe a service, or an older version of this project wrote "
            f"it ({what}); correct it, or delete it and roll out the champion again"
        )

    def change(self, decide: Callable[[Wanted | None], Wanted | None]) -> None:
        """Replace what is wanted by what is decided on it, while nobody else can change it.

        Args:
            decide: Given what is wanted now; returns what is wanted next, None for nothing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), mode=0o600):
            now = self.read()
            wanted = decide(now)
            if wanted is None:
                self.path.unlink(missing_ok=True)
            elif wanted != now:
                # Relative, so that the folder with file and models may be moved.
                write_json(self.path, asdict(self._placed(wanted, self._relative)))

    def _placed(self, wanted: Wanted, place: Callable[[str], str]) -> Wanted:
        """The same with the models' folders written in another way."""

        def moved(model: ServedModel | None) -> ServedModel | None:
            return model and replace(model, folder=place(model.folder))

        return replace(wanted, stable=moved(wanted.stable), canary=moved(wanted.canary))

    def _absolute(self, folder: str) -> str:
        return folder if Path(folder).is_absolute() else str(self.folder / folder)

    def _relative(self, folder: str) -> str:
        here = Path(folder).is_relative_to(self.folder)
        return str(Path(folder).relative_to(self.folder)) if here else folder

    def delete(self) -> None:
        """Serve nothing any more, whatever the file holds."""
        self.path.unlink(missing_ok=True)

    def state(self) -> ServiceState | None:
        """As `Service.state`."""
        wanted = self.read()
        return wanted.state if wanted else None

    def in_effect(self) -> InEffect:
        """What the supervisor has made of it; nothing where none runs."""
        try:
            return _IN_EFFECT.validate_json((self.site_folder / _IN_EFFECT_FILE).read_bytes())
        except (OSError, ValidationError):
            return InEffect()

    def show(self, in_effect: InEffect) -> None:
        """Write down what is in effect; only the supervisor does so."""
        write_json(self.site_folder / _IN_EFFECT_FILE, asdict(in_effect))

    @property
    def url(self) -> str:
        """Where the traffic is split; empty where nothing is served."""
        return self.in_effect().url

    def addresses(self) -> dict[str, list[str]]:
        """URLs of each ready version's servers, past the traffic split, for its metrics."""
        versions = self.in_effect().versions.items()
        return {name: [f"http://127.0.0.1:{one.port}"] for name, one in versions if one.port}

    def is_served(self) -> bool:
        """Whether a supervisor runs for this service."""
        if not self.site_folder.exists():
            return False
        try:
            with FileLock(self.site_folder / _SITE_LOCK, timeout=0):
                return False
        except Timeout:
            return True

    @contextmanager
    def only_supervisor(self) -> Iterator[None]:
        """Be the only supervisor of the service; the lock goes with the process, however it ends.

        Raises:
            UserError: If another one runs.
        """
        self.site_folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.site_folder / _SITE_LOCK)
        try:
            lock.acquire(timeout=1.0)  # `is_served` holds it for a moment
        except Timeout:
            raise UserError(
                f"another site serves {self.name} from {self.folder}; end it first, or give "
                "another --state"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def explain(self) -> str:
        """Why the service is as it is, on one line; never raises."""
        try:
            wanted = self.read()
        except UserError as error:
            return str(error)
        if wanted is None:
            return f"nothing is deployed at {self.path}"
        said, now = [], self.in_effect()
        if not self.is_served():
            site = make_command("site", self.name)
            said.append(f"no site runs; start it with `{site}` in another terminal")
        elif not now.url:
            said.append("the site has not looked at it yet")
        if now.fault:
            said.append(now.fault)
        for version, one in now.versions.items():
            ready = "ready" if one.port else "not ready"
            said.append(f"version {version} is {ready} and gets {one.percent} percent")
            if one.failure:
                said.append(one.failure)
        return "; ".join(said)
