"""The nginx configuration that splits traffic between model servers of one machine.

Review texts are in no log and in no temporary file.
"""

import re
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VERSION_HEADER = "X-Model-Version"
"""Header of an answer: the model version that gave it, errors included."""

REQUEST_ID_HEADER = "X-Request-Id"
"""Header of a request and its answer; made here where the client sends none."""

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
    server does answer is passed on, its 5xx too: a canary's faults must be seen.

    Args:
        split: The shares.
        prefix: Folder of nginx's own files.
        host: Address to listen on.
        port: Port to listen on.
    """
    address = f"[{host}]" if ":" in host else host
    upstreams, shares = [], []
    with_share = [backend for backend in split.backends if backend.percent]
    for position, backend in enumerate(split.backends):
        others = [other for other in split.backends if other is not backend]
        upstreams.append(_upstream(f"version_{position}", [backend, *others]))
    for backend in with_share:
        # The last takes the rest, so that no hash falls between two roundings.
        share = "*" if backend is with_share[-1] else f"{backend.percent}%"
        shares.append(f"        {share} version_{split.backends.index(backend)};")
    versions = [
        f'        "~:{backend.port}$" "{_UNSAFE.sub("_", backend.version)}";'
        for backend in split.backends
    ]
    if split.shadow:
        upstreams.append(_upstream("shadow", [split.shadow]))
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONFIGURATION.format(
        prefix=prefix,
        # A request holds two connections, and the default limit is often 1,024.
        files=8192 if most_files == resource.RLIM_INFINITY else min(8192, most_files),
        upstreams="\n".join(upstreams),
        shares="\n".join(shares) or "        * none;",
        versions="\n".join(versions) or '        "~^$" "";',
        listen=f"{address}:{port}",
        request_id_header=REQUEST_ID_HEADER,
        version_header=VERSION_HEADER,
        mirror=_MIRROR if split.shadow else "",
        body=_PROXIED if split.backends else _NOBODY,
        shadow=_SHADOW.format(request_id_header=REQUEST_ID_HEADER) if split.shadow else "",
    )


def _upstream(name: str, backends: Sequence[Backend]) -> str:
    """A server and, if it cannot be reached, those that stand in."""
    lines = [
        # max_fails=0: a single failure must not take a version out of the split for a while.
        f"        server 127.0.0.1:{backend.port} max_fails=0{' backup' if position else ''};"
        for position, backend in enumerate(backends)
    ]
    # Below the 5 s after which uvicorn closes a connection that nothing came over.
    keepalive = ["        keepalive 64;", "        keepalive_timeout 4s;"]
    return "\n".join([f"    upstream {name} {{", *lines, *keepalive, "    }"])


# Temporary files are never written: bodies and answers are held in memory up to their limit.
# keepalive_timeout 0: when its configuration is read anew, nginx closes connections that are open
# for a next request, and a request that is on its way over one at that moment is lost to its
# client: 14 of 2,878 over 40 changes of the split, against none with connections that are closed
# after each answer. (The remedy, keepalive_min_timeout, came with nginx 1.27.4.)
_CONFIGURATION = """\
daemon off;
worker_processes 1;
worker_shutdown_timeout 60s;
worker_rlimit_nofile {files};
pid {prefix}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    server_tokens off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/answers;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    client_max_body_size 16m;
    client_body_buffer_size 16m;
    client_body_in_single_buffer on;
    proxy_max_temp_file_size 0;
    proxy_buffers 64 16k;
    proxy_buffer_size 16k;
    proxy_busy_buffers_size 32k;
    keepalive_timeout 0;
{upstreams}
    map $http_x_request_id $asked_id {{
        "" $request_id;
        default $http_x_request_id;
    }}
    split_clients $asked_id $chosen {{
{shares}
    }}
    map $upstream_addr $answered_by {{
        default "";
{versions}
    }}
    server {{
        listen {listen} backlog=4096;
        default_type application/json;
        location / {{
            add_header {request_id_header} $asked_id always;
            add_header {version_header} $answered_by always;
{mirror}{body}        }}
{shadow}    }}
}}
"""

_PROXIED = """\
            proxy_pass http://$chosen;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Request-Id $asked_id;
            proxy_hide_header X-Request-Id;
            proxy_hide_header X-Model-Version;
            proxy_connect_timeout 5s;
            proxy_read_timeout 60s;
            proxy_next_upstream error non_idempotent;
"""

_NOBODY = """\
            add_header Retry-After 5 always;
            return 503 '{"error": "no model server is ready"}';
"""

_MIRROR = """\
            mirror /shadow-of-a-request;
"""

_SHADOW = """\
        location = /shadow-of-a-request {{
            internal;
            proxy_pass http://shadow$request_uri;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header {request_id_header} $asked_id;
            proxy_connect_timeout 1s;
            proxy_read_timeout 30s;
            proxy_next_upstream off;
        }}
"""
