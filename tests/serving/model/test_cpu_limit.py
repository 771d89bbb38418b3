import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.model.cpu_limit import cpu_limit


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("max 100000\n", 8),
        ("", 8),
    ],
)
def test_version_2(tmp_path, content, cores):
    limit = tmp_path / "cpu.max"
    limit.write_text(content)
    assert cpu_limit(limit, tmp_path / "none") == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("250000", 3), ("-1", 8), ("0", 8)])
def test_version_1(tmp_path, quota, cores):
    (tmp_path / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path / "none", tmp_path) == cores


def test_without_control_groups_the_scheduler_decides(tmp_path, monkeypatch):
    assert cpu_limit(tmp_path / "none", tmp_path / "none") == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cpu_limit(tmp_path / "none", tmp_path / "none") == 1


@given(st.integers(1, 10**8), st.integers(1000, 10**6))
def test_never_less_than_one_nor_more_than_allowed(tmp_path_factory, quota, period):
    limit = tmp_path_factory.getbasetemp() / "cpu.max"
    limit.write_text(f"{quota} {period}\n")
    assert max(1, min(8, quota / period)) <= cpu_limit(limit, limit) <= 8
