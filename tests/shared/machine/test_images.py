import pytest

from components.shared.machine import images
from components.shared.machine.images import code_version


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for variable in ("IMAGE_REGISTRY", "IMAGE_TAG", "CODE_VERSION"):
        monkeypatch.delenv(variable, raising=False)


def named():
    return (
        images.step_image(),
        images.training_image(0),
        images.training_image(1),
        images.predictor_image(),
    )


def test_images_are_those_of_the_moment(monkeypatch):
    assert named()[0] == named()[1] == images.STEP_IMAGE
    monkeypatch.setenv("IMAGE_REGISTRY", "r/team")
    monkeypatch.setenv("IMAGE_TAG", "2")
    assert named() == (
        "r/team/steps:2",
        "r/team/steps:2",
        "r/team/training:2",
        "r/team/predictor:2",
    )


def test_the_code_is_the_commit_or_else_the_package(monkeypatch):
    def missing(name):
        raise images.PackageNotFoundError(name)

    assert code_version() == images.version("review-sentiment")
    monkeypatch.setattr(images, "version", missing)
    assert code_version() == "unknown"
    monkeypatch.setenv("CODE_VERSION", "0123abc-dirty")
    assert code_version() == "0123abc-dirty"
