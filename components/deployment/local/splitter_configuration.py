"""The nginx configuration that splits traffic between model servers of one machine."""

import re
import resource
from dataclasses import dataclass
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("nginx.conf")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/+-]")


@dataclass(frozen=True)
class Backend:
    """A model server behind the splitter.

    Attributes:
        version: Its model version.
        port: Its port on 127.0.0.1.
        percent: Its share of the requests, an integer.
    """

    version: str
    port: int
    percent: int


@dataclass(frozen=True)
class Split:
    """Who gets which share of the requests.

    Attributes:
        backends: With shares that add up to 100; empty where nothing can answer. One without a
            share takes only what another could not be reached for.
        shadow: Gets a copy of each request; its answers are thrown away.
    """

    backends: tuple[Backend, ...] = ()
    shadow: Backend | None = None

    def __post_init__(self) -> None:
        if self.backends and sum(backend.percent for backend in self.backends) != 100:
            raise ValueError(f"the shares of {self.backends} do not add up to 100")


def render_configuration(split: Split, prefix: Path, host: str, port: int) -> str:
    """The nginx configuration of a split.

    Which server a request goes to is a hash of its id (`split_clients`), so that each request is
    an independent draw, and a request that is sent again goes the same way. Where a server cannot
    be reached, or breaks off before it answers, another one is asked
    (`proxy_next_upstream error`): inference has no effect, so a POST may be sent twice. What a
    server does answer is passed on, its 5xx too: a canary's faults must be seen. Each answer names
    its request (`X-Request-Id`) and the version that gave it (`X-Model-Version`), errors included.

    The prefix is the folder of nginx's own files.
    """
    from jinja2 import StrictUndefined, Template

    upstreams = {
        f"version_{one.port}": [one.port, *(o.port for o in split.backends if o is not one)]
        for one in split.backends
    }
    if split.shadow:
        upstreams["shadow"] = [split.shadow.port]
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    text: str = Template(_TEMPLATE.read_text(encoding="utf-8"), undefined=StrictUndefined).render(
        prefix=prefix,
        # A request holds two connections, and the default limit is often 1,024.
        files=8192 if most_files == resource.RLIM_INFINITY else min(8192, most_files),
        upstreams=upstreams,
        shares=[(f"version_{one.port}", one.percent) for one in split.backends if one.percent],
        versions={one.port: _UNSAFE.sub("_", one.version) for one in split.backends},
        listen=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
    )
    return text
