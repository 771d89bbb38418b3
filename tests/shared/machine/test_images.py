import pytest

from components.shared.machine import images
from components.shared.machine.images import code_version


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for variable in ("IMAGE_REGISTRY", "IMAGE_TAG", "CODE_VERSION"):
        monkeypatch.delenv(variable, raising=False)


def named():
    training = (images.training_image(gpus) for gpus in (0, 1))
    return [images.step_image(), *training, images.predictor_image()]


def test_images_are_those_of_the_moment(monkeypatch):
    assert named()[0] == named()[1] == images.STEP_IMAGE
    monkeypatch.setenv("IMAGE_REGISTRY", "r/team")
    monkeypatch.setenv("IMAGE_TAG", "2")
    assert named() == [f"r/team/{name}:2" for name in ("steps", "steps", "training", "predictor")]


def test_the_code_is_the_commit_or_else_the_package(monkeypatch):
    def missing(name):
        raise images.PackageNotFoundError(name)

    assert code_version() == images.version("review-sentiment")
    monkeypatch.setattr(images, "version", missing)
    assert code_version() == "unknown"
    monkeypatch.setenv("CODE_VERSION", "0123abc-dirty")
    assert code_version() == "0123abc-dirty"
