import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.local.splitter_configuration import Backend, Split, render_configuration
from tests.deployment.conftest import NGINX, needs_nginx


@st.composite
def splits(draw):
    weights = draw(st.lists(st.integers(0, 100), min_size=1, max_size=4))
    total = sum(weights)
    percents = [weight * 100 // total for weight in weights] if total else [0] * len(weights)
    percents[0] += 100 - sum(percents)
    backends = tuple(
        Backend(draw(st.text(max_size=4)), 20_000 + i, percent)
        for i, percent in enumerate(percents)
    )
    shadow = Backend("s", 30_000, 0) if draw(st.booleans()) else None
    return Split(backends, shadow)


@settings(deadline=None)
@given(splits())
def test_the_configuration_gives_each_its_share_and_the_last_the_rest(split):
    text = render_configuration(split, Path("/p"), "127.0.0.1", 8080)
    block = text.split("split_clients $asked_id $chosen {")[1].split("}")[0]
    shares = [line.split() for line in block.strip().strip(";").split(";")]
    wanted = [b for b in split.backends if b.percent]
    assert [name for _, name in shares] == [f"version_{b.port}" for b in wanted]
    assert [share for share, _ in shares] == [f"{b.percent}%" for b in wanted[:-1]] + ["*"]
    assert ("mirror /" in text) == (split.shadow is not None)


@needs_nginx
@pytest.mark.parametrize("version", ['3"; evil', "$request_body", "é{}\n;", "", "ok-1.2"])
def test_nginx_takes_every_version_as_a_plain_word(tmp_path, version):
    split = Split((Backend(version, 20_000, 100),), Backend(version, 20_001, 0))
    for name in ("body", "answers", "fastcgi", "uwsgi", "scgi"):
        (tmp_path / name).mkdir()
    (tmp_path / "n.conf").write_text(render_configuration(split, tmp_path, "::1", 20_002))
    command = [NGINX, "-e", "stderr", "-p", str(tmp_path), "-c", str(tmp_path / "n.conf"), "-t"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "$request_body" not in (tmp_path / "n.conf").read_text()


def test_shares_that_do_not_add_up_are_a_mistake():
    with pytest.raises(ValueError, match="do not add up"):
        Split((Backend("1", 1, 90),))
