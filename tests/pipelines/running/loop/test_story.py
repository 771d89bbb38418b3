import pytest

from components.shared.machine.errors import UserError
from pipelines.running.loop.story import Chapter, Story


def chapter(sentence="it went well"):
    return Chapter("", "", sentence, {"rows": 3})


def test_what_happened_is_told_once_across_processes(tmp_path):
    happened = []

    def happen():
        happened.append(1)
        return chapter()

    for _ in range(2):
        told = Story(tmp_path / "story.json", {}).tell("traffic", "Clients ask", happen)
        assert (told.sentence, told.figures) == ("it went well", {"rows": 3})
    assert happened == [1]


def test_a_chapter_that_was_killed_is_begun_again_and_keeps_its_beginning(tmp_path):
    file = tmp_path / "story.json"

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Story(file, {}).tell("traffic", "Clients ask", killed)
    assert Story(file, {}).chapters == []
    begun = Story(file, {})._begun["traffic"]
    assert Story(file, {}).tell("traffic", "Clients ask", chapter).started == begun


def test_a_story_keeps_what_it_was_given(tmp_path):
    Story(tmp_path / "story.json", {"seed": "1"}).tell("data", "Data", chapter)
    assert Story(tmp_path / "story.json", {"seed": "2"}).given == {"seed": "1"}


def test_a_damaged_story_is_refused(tmp_path):
    (tmp_path / "story.json").write_text("{")
    with pytest.raises(UserError, match=r"story\.json"):
        Story(tmp_path / "story.json", {})
