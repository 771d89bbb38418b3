from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deployment.local.service_file import (
    InEffect,
    ServedModel,
    ServiceFile,
    VersionInEffect,
    Wanted,
)
from components.shared.machine.errors import UserError
from components.shared.machine.files import write_json

NAME = "review-sentiment"
ONE, TWO = (ServedModel(NAME, f"/m/{v}", v, f"d{v}", ("--engine=torch",)) for v in "12")
BOTH = Wanted(ONE, TWO, 10, True, evidence={"seen": [1, None]})


@pytest.fixture
def file(tmp_path):
    return ServiceFile(tmp_path / "site", NAME)


def test_what_is_wanted_is_read_back_and_written_only_where_it_changes(file, monkeypatch):
    monkeypatch.chdir(file.folder.parent)
    assert ServiceFile("site", NAME) == file
    assert file.state() is file.read() is None
    file.change(lambda _: BOTH)
    before = file.path.stat().st_ino
    file.change(lambda now: replace(now))
    with pytest.raises(ZeroDivisionError):
        file.change(lambda _: 1 / 0)
    assert file.read() == BOTH
    assert file.path.stat().st_ino == before
    assert {path.name for path in file.folder.iterdir()} == {f"{NAME}.json", f"{NAME}.lock"}
    file.change(lambda _: None)
    file.change(lambda _: None)
    assert file.read() is None


def test_a_site_that_was_moved_finds_its_models(file):
    (file.folder / "models").mkdir(parents=True)
    one = replace(ONE, folder=str(file.folder / "models" / "1"))
    file.change(lambda _: Wanted(one, TWO, 10))
    assert file.read() == Wanted(one, TWO, 10)
    moved = ServiceFile(file.folder.rename(file.folder.with_name("moved")), NAME)
    assert moved.read().stable.folder == str(moved.folder / "models" / "1")
    assert moved.read().canary == TWO


def test_of_many_who_change_it_none_is_overwritten(file):
    file.change(lambda _: BOTH)

    def add(number):
        mine = ServiceFile(file.folder, NAME)
        mine.change(lambda now: replace(now, evidence={**now.evidence, str(number): 1}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert set(map(str, range(8))) < set(file.read().evidence)


DAMAGED = [
    ({"percent": 101}, "percent: .*less than or equal to 100"),
    ({"percent": "10"}, "percent: .*integer"),
    ({"stable": None}, "without a stable version there has to be a canary at 100 percent"),
    ({"canary": None}, "without a canary the percent has to be 0"),
    ({"canary": asdict(ONE)}, "have to be different versions"),
    ({"canary": {**asdict(TWO), "folder": ""}}, "canary.folder: "),
    ({"canary": {**asdict(TWO), "version": "\0"}}, "canary.version: "),
    ({"shadow": "yes"}, "shadow: .*boolean"),
    ({"more": 1}, "more: "),
]


@pytest.mark.parametrize(("change", "what"), DAMAGED)
def test_a_file_that_someone_damaged_is_refused_with_the_place_and_the_remedy(file, change, what):
    write_json(file.path, {**asdict(BOTH), **change})
    with pytest.raises(UserError, match=f"{file.path} does not describe .*{what}.*delete it and"):
        file.read()
    before = file.path.read_bytes()
    with pytest.raises(UserError, match="does not describe a service"):
        file.change(lambda _: BOTH)
    assert file.path.read_bytes() == before
    assert "does not describe a service" in file.explain()


# The last one is what an older version wrote of a service with a canary, in short.
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"null", b'"\\ud800"'),
        b'{"kind": "InferenceService", "metadata": {"name": "review-sentiment", "generation": 2}, '
        b'"spec": {"predictor": {"model": {}}, "canary": [{"trafficPercent": 10}]}}',
    ],
)
def test_a_file_that_is_anything_else_is_refused(file, content):
    file.folder.mkdir()
    file.path.write_bytes(content)
    with pytest.raises(UserError, match=r"or an older version of .* roll out the champion again"):
        file.state()
    with file.path.open("wb") as large:
        large.truncate(2**24 + 1)
    with pytest.raises(UserError, match="more than 16777216 bytes"):
        file.read()
    file.delete()
    file.path.mkdir()
    with pytest.raises(UserError, match="Is a directory"):
        file.read()


def test_what_the_only_supervisor_has_in_effect_is_shown_and_explained(file):
    assert (file.url, file.addresses(), file.in_effect()) == ("", {}, InEffect())
    assert file.explain() == f"nothing is deployed at {file.path}"
    file.change(lambda _: BOTH)
    assert file.explain() == "no site runs; start it with `make site` in another terminal"
    versions = {"1": VersionInEffect(20_000, 90), "2": VersionInEffect(failure="no weights")}
    shown = InEffect("http://127.0.0.1:8080", "nginx is gone", versions)
    assert not file.is_served()
    with file.only_supervisor():
        assert file.is_served()
        with pytest.raises(UserError, match="another site serves review-sentiment"):
            ServiceFile(file.folder, NAME).only_supervisor().__enter__()
        assert file.explain() == "the site has not looked at it yet"
        file.show(shown)
        assert file.explain() == (
            "nginx is gone; version 1 is ready and gets 90 percent; "
            "version 2 is not ready and gets 0 percent; no weights"
        )
    assert not file.is_served()
    assert file.in_effect() == shown
    assert (file.url, file.addresses()) == (shown.url, {"1": ["http://127.0.0.1:20000"]})
    (file.site_folder / "in_effect.json").write_text('{"url": 1}')
    assert file.in_effect() == InEffect()


models = st.builds(
    *(ServedModel, st.sampled_from("ab"), st.sampled_from(["/a", "/b"])),
    *(st.text("12/é ", min_size=1, max_size=3), st.sampled_from("xy")),
    st.lists(st.sampled_from("xy"), max_size=2).map(tuple),
)


@given(models, models)
def test_models_have_the_same_key_only_if_they_are_the_same(one, other):
    assert (one.key == other.key) == (one == other)
    assert "/" not in one.key
