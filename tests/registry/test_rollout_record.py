import pytest
from kfp.dsl import Artifact

from components.registry import component
from components.registry import versions as registry
from components.shared.machine.errors import NotApproved, UserError
from tests.registry.conftest import NAME


@pytest.fixture
def versions(mlflow_file, make_model_folder, register_version, tmp_path):
    """Versions 1 to 3, approved; 1 is the champion."""
    for number in ("1", "2", "3"):
        folder = make_model_folder(tmp_path / f"model-{number}", number.encode())
        assert register_version(folder, pipeline_run=f"run-{number}").version == number
    registry.promote(NAME, "1")


def aliases():
    return {alias: one.version for one in registry.list_versions(NAME) for alias in one.aliases}


def tags(version):
    registered = registry.show_version(NAME, version).tags
    return registered.get("rollout"), registered.get("rollout_reason")


def test_a_promotion_moves_the_champion(versions):
    registry.record_rollout(NAME, "2", "promote", "the numbers are good", "1")
    assert aliases() == {"champion": "2", "previous": "1", "challenger": "3"}
    assert tags("2") == ("promote", "the numbers are good")
    assert tags("1") == (None, None)


@pytest.mark.parametrize("decision", ["first_deployment", "already_serving"])
def test_the_serving_version_is_the_champion(versions, decision):
    registry.record_rollout(NAME, "3", decision, "it serves", "3")
    assert aliases() == {"champion": "3", "previous": "1"}
    assert tags("3") == (decision, "it serves")


@pytest.mark.parametrize("before", ["promote", "first_deployment"])
def test_run_again_the_record_keeps_how_the_version_came_to_serve(versions, before):
    registry.record_rollout(NAME, "2", before, "the numbers", "1")
    registry.record_rollout(NAME, "2", "already_serving", "version 2 serves already", "2")
    assert tags("2") == (before, "the numbers")
    assert aliases()["champion"] == "2"
    # Rolled back once and then tried again: the old record is no longer true.
    registry.record_rollout(NAME, "3", "roll_back", "it was slow", "2")
    registry.record_rollout(NAME, "3", "already_serving", "version 3 serves already", "3")
    assert tags("3") == ("already_serving", "version 3 serves already")
    assert aliases()["champion"] == "3"


def test_a_rollback_gives_the_alias_back(versions):
    registry.promote(NAME, "2")
    for _ in range(2):  # a step that was killed is run again
        registry.record_rollout(NAME, "2", "roll_back", "it was slow", "1")
        assert aliases() == {"champion": "1", "previous": "2", "challenger": "3"}
    assert tags("2") == ("roll_back", "it was slow")
    assert tags("1") == (None, None)


def test_rolling_back_another_version_leaves_the_champion(versions):
    before = aliases()
    registry.record_rollout(NAME, "3", "roll_back", "it was slow", "1")
    assert aliases() == before
    # Nor does it bring back a version that serves but was replaced as champion.
    registry.record_rollout(NAME, "3", "roll_back", "it was slow", "2")
    assert aliases() == before
    assert tags("3") == ("roll_back", "it was slow")


@pytest.mark.parametrize("stable", ["41", "2", ""])
def test_without_a_registered_stable_version_there_is_no_champion(versions, stable):
    registry.promote(NAME, "2")
    registry.record_rollout(NAME, "2", "roll_back", "it was slow", stable)
    assert "champion" not in aliases()
    assert aliases()["previous"] == "1"


def test_long_reasons_are_cut_to_mlflows_limit(versions):
    registry.record_rollout(NAME, "2", "promote", "x" * 9000, "1")
    assert tags("2")[1] == "x" * 5000


@pytest.mark.parametrize("decision", ["promote", "roll_back"])
def test_a_version_that_is_not_registered_raises_an_error(versions, decision):
    before = aliases()
    with pytest.raises(UserError, match="has no version '9'; it has versions 1, 2, 3"):
        registry.record_rollout(NAME, "9", decision, "why", "1")
    assert aliases() == before


def test_a_pending_version_is_not_fetched_for_a_rollout(
    versions, make_model_folder, register_version, tmp_path
):
    register_version(make_model_folder(tmp_path / "pending", b"4"), "manual", "run-4")
    fetch = component.fetch_version.python_func
    names = ("fetched", "table")
    outputs = [Artifact(uri=str(tmp_path / name)) for name in names]
    with pytest.raises(NotApproved, match=r"version 4 of .* waits.*run `make approve VERSION=4`"):
        fetch(NAME, "4", *outputs, approved_only=True)
    assert not (tmp_path / "fetched").exists()
    assert fetch(NAME, "4", *outputs).version == "4"
    registry.approve(NAME, "4", "ada")
    assert fetch(NAME, "4", *outputs, approved_only=True).version == "4"


def test_the_step_passes_everything_on(versions):
    component.record_rollout.python_func(NAME, "2", "promote", "better", "1")
    assert aliases()["champion"] == "2"
    assert tags("2") == ("promote", "better")
