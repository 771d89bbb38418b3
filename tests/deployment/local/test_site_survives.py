"""Whatever someone writes into the service's file, the site lives on, and so do its servers."""

import json
import logging
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.deployment.local.model_servers import Seen
from components.deployment.local.service_file import ServedModel, ServiceFile, Wanted
from components.deployment.local.site import Supervisor
from components.deployment.local.splitter import Split, render_configuration

NAME = "review-sentiment"
ONE, TWO = (ServedModel(NAME, f"/m/{version}", version) for version in "12")
WHOLE = Wanted(ONE, TWO, 20)


class Servers:
    """Model servers that are ready at once."""

    drain_seconds, failures, held_back, adopted = 0.0, {}, (), False

    def __init__(self):
        self.seen = []

    def adopt(self, models):
        self.adopted = True

    def start(self, model):
        self.seen.append(Seen(model.key, model.key, model.version, 20_000 + len(self.seen)))

    def end(self, identity):
        self.seen = [one for one in self.seen if one.id != identity]

    def end_all(self):
        self.seen = []

    def observe(self):
        pass

    def forget_failures(self, still_wanted):
        pass


class TrafficSplit:
    """Remembers the split that it was given last."""

    url, log_file, split = "http://127.0.0.1:1", Path("/nowhere/nginx.log"), Split()

    def apply(self, split):
        assert render_configuration(split, Path("/nowhere"), "127.0.0.1", 1).count("{") >= 8
        self.split = split

    def is_running(self):
        return True

    def is_draining(self):
        return False

    def end(self, within):
        pass


class Contents:
    """Stops a site once it has looked at each content of its file, thrice; notes what ran then."""

    def __init__(self, site, contents):
        self.site, self.ran = site, []
        self.coming = [content for content in contents for _ in range(3)]

    def wait(self, seconds):
        self.ran.append((list(self.site.servers.seen), self.site.splitter.split))
        if not self.coming:
            return True
        self.site.file.path.write_bytes(self.coming.pop(0))
        return False


def survived(folder, *contents, first=WHOLE):
    """A site that went through the contents; what ran after each look, the first one's first."""
    file = ServiceFile(folder, NAME)
    file.folder.mkdir(exist_ok=True)
    file.path.write_bytes(first if isinstance(first, bytes) else written(first))
    site = Supervisor(file, TrafficSplit(), Servers())
    stop = Contents(site, contents)
    site.run(stop)
    return site, stop.ran


def written(wanted):
    return json.dumps(asdict(wanted)).encode()


texts = st.text(max_size=8) | st.sampled_from(["1", "2", "{}", "a\nb", '"; }', "--help", "\x00"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
models = st.fixed_dictionaries(
    {"name": texts, "folder": texts, "version": texts},
    optional={"digest": texts, "arguments": st.lists(texts, max_size=2), "more": anything},
)
services = st.fixed_dictionaries(
    {"stable": st.none() | models},
    optional={
        **{"canary": st.none() | models, "percent": st.integers(-1, 101) | anything},
        **{"shadow": st.booleans() | anything, "rejected": st.none() | texts},
        **{"evidence": st.dictionaries(texts, anything, max_size=2), "more": anything},
    },
)
contents = st.one_of(
    st.binary(max_size=40),
    (anything | services).map(lambda content: json.dumps(content).encode()),
    st.integers(0, 300).map(lambda size: written(WHOLE)[:size]),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[*HealthCheck])
@given(contents)
def test_whatever_the_file_holds_nothing_ends_unless_it_says_so(tmp_path, caplog, content):
    caplog.clear()
    with caplog.at_level(logging.ERROR):
        _, ran = survived(tmp_path, written(WHOLE), content, written(WHOLE))
    before, damaged, after = ran[3::3]
    for said in (record.getMessage() for record in caplog.records):
        assert said.startswith("what runs goes on serving as it is: ")
        assert "does not describe a service" in said
        assert len(said) < 1000
        assert said.isprintable()
        assert damaged == before
    assert len(caplog.records) <= 1
    for _, split in (before, after):
        assert {one.version: one.percent for one in split.backends} == {"1": 80, "2": 20}


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[" * 10**5, b'{"stable": {"%b": 1}}' % (b"x" * 10**6)]
)
def test_a_site_that_starts_on_a_damaged_file_waits_for_a_whole_one(tmp_path, content):
    site, ran = survived(tmp_path, content, written(WHOLE), first=content)
    assert ran[0] == ([], Split())
    assert {one.version for one in ran[-1][0]} == {"1", "2"}
    assert site.servers.adopted


def test_what_an_earlier_site_left_running_ends_with_one_that_never_read_its_file(tmp_path):
    site, _ = survived(tmp_path, first=b"{")
    assert site.servers.adopted


def test_a_fault_that_nobody_foresaw_ends_nothing(tmp_path, caplog):
    file = ServiceFile(tmp_path, NAME)
    file.path.write_bytes(written(WHOLE))
    site = Supervisor(file, TrafficSplit(), Servers())
    site.servers.observe = lambda: 1 / 0
    site.run(Contents(site, [written(WHOLE)]))
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["what runs goes on serving as it is: ZeroDivisionError('division by zero')"]
