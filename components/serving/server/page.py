"""The page at `/` on which a person tries the model: a form, and the answer with its probabilities.

It is one file without anything from elsewhere. Its policy lets the browser run this very script and
ask this server, and nothing else, whatever a model's or a class's name may hold.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from starlette.responses import Response

from components.serving.server.protocol import MAX_CHARACTERS

_TEMPLATE = Path(__file__).with_name("page.html")


def page_of(
    name: str, version: str, class_names: Sequence[str], *, explains: bool = False
) -> Response:
    """The page of a model; one response serves every request."""
    template = _TEMPLATE.read_text(encoding="utf-8")
    classes = " or ".join(filter(None, (", ".join(class_names[:-1]), class_names[-1])))
    values = {
        "name": name,
        "about": f"{f'Version {version} answers' if version else 'It answers'} {classes}.",
        "most": str(MAX_CHARACTERS),
        "explains": "yes" if explains else "",
    }
    html = re.sub(r"\{\{(\w+)\}\}", lambda found: escape(values[found[1]]), template)
    return Response(html, media_type="text/html", headers=_headers(template))


def _headers(template: str) -> Mapping[str, str]:
    """What the browser may do on the page."""
    allowed = {}
    for kind in ("script", "style"):
        found = re.search(rf"<{kind}>(.*?)</{kind}>", template, re.DOTALL)
        digest = hashlib.sha256(found[1].encode() if found else b"").digest()
        allowed[kind] = f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'"
    policy = [
        *("default-src 'none'", *allowed.values(), "connect-src 'self'", "img-src data:"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "Vary": "Accept",
    }
