import subprocess
import sys

import pytest

from components.shared.machine.cost import (
    PRICES_VARIABLE,
    Prices,
    Usage,
    read_prices,
    usage_of_this_process,
)
from components.shared.machine.errors import UserError

TABLE = {"currency": "CHF", "cpu_hour": 1, "gib_hour": 2, "gpu_hour": 3, "person_hour": 36}


@pytest.fixture
def priced(tmp_path, monkeypatch):
    def write(**changed):
        lines = [f"{name}: {value}" for name, value in (TABLE | changed).items() if value != ""]
        (tmp_path / "prices.yaml").write_text("\n".join(lines))
        monkeypatch.setenv(PRICES_VARIABLE, str(tmp_path / "prices.yaml"))
        return read_prices()

    return write


def test_what_was_used_is_priced_by_the_table(priced):
    prices = priced()
    used = Usage(wall_seconds=1800, cpu_seconds=3600, gpu_seconds=7200, peak_bytes=2 * 2**30)
    assert prices.of(used) == pytest.approx(1 + 2 * 0.5 * 2 + 2 * 3)
    assert prices.of_review(votes=300, seconds_per_vote=10) == pytest.approx(30)


def test_the_projects_own_table_is_whole():
    assert isinstance(read_prices(), Prices)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gpu_hour": ""}, "must hold currency, cpu_hour"),
        ({"colour": 1}, "nothing else"),
        ({"cpu_hour": "cheap"}, "cpu_hour in .* is 'cheap'; give a number"),
        ({"cpu_hour": -1}, "cpu_hour in"),
        ({"cpu_hour": ".nan"}, "cpu_hour in"),
        ({"cpu_hour": "true"}, "cpu_hour in"),
        ({"cpu_hour": "[1"}, "cannot be read"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(priced, changed, words):
    with pytest.raises(UserError, match=words):
        priced(**changed)


def test_a_process_knows_what_it_and_its_children_used():
    before = usage_of_this_process(1.0)
    work = "x = 0\nfor i in range(3_000_000): x += i"
    subprocess.run([sys.executable, "-c", work], check=True)
    after = usage_of_this_process(2.0)
    assert after.cpu_seconds - before.cpu_seconds > 0.05
    assert after.peak_bytes >= before.peak_bytes > 10 * 2**20
    assert after.gpu_seconds == 0


def test_steps_of_the_same_name_add_up():
    total = Usage(1, 2, 3, 40) + Usage(1, 2, 3, 30)
    assert total == Usage(2, 4, 6, 40)
