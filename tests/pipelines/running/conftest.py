import os
from pathlib import Path

import pytest

from pipelines.running.environment import local_environment


@pytest.fixture
def plain_environment(monkeypatch):
    """What the commands set for their steps: none of it is there, and none outlives a test."""
    for name in local_environment(Path("state")):
        monkeypatch.setenv(name, "")


@pytest.fixture
def became(monkeypatch):
    """The command lines that took the place of this process."""
    lines: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: lines.append(words[1:]))
    return lines


@pytest.fixture
def champion(monkeypatch):
    """Version 3 is champion of `sentiment-fr`, and was trained on `features_3`."""
    from components.registry import versions

    third = versions.Version("3", ("champion",), 0.0, "run", {"feature_service": "features_3"})
    fourth = versions.Version("4", (), 0.0, "run", {"feature_service": "features_4"})

    def listed(name):
        return [fourth, third] if name == "sentiment-fr" else []

    def fetched(name, folder):
        return "3" if listed(name) else ""

    monkeypatch.setattr(versions, "list_versions", listed)
    monkeypatch.setattr(versions, "fetch_champion", fetched)
