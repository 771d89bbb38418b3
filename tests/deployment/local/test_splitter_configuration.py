import subprocess
from pathlib import Path

import pytest

from components.deployment.local.splitter import Backend, Split, render_configuration
from tests.deployment.conftest import NGINX, needs_nginx


def test_the_configuration_gives_each_its_share_and_the_last_the_rest():
    backends = tuple(Backend("v", port, percent) for port, percent in ((1, 70), (2, 0), (3, 30)))
    text = render_configuration(Split(backends), Path("/p"), "127.0.0.1", 8080)
    shares = text.split("split_clients $asked_id $chosen {")[1].split("}")[0].split()
    assert shares == ["70%", "version_1;", "*", "version_3;"]
    assert "mirror /" not in text
    with pytest.raises(ValueError, match="do not add up"):
        Split((Backend("1", 1, 90),))


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
