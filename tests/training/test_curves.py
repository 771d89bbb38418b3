import re

from components.shared.machine.files import write_json
from components.training.curves import curves_of, write_training_curves


def test_each_number_of_the_history_is_a_curve_over_the_steps():
    history = [
        {"step": 5, "epoch": 0.5, "train_loss": 1.0, "macro_f1": float("nan")},
        {"step": 10, "epoch": 1.0, "train_loss": 0.5, "macro_f1": 0.6, "note": "best"},
    ]
    assert curves_of(history) == {
        "train_loss": [(5.0, 1.0), (10.0, 0.5)],
        "macro_f1": [(10.0, 0.6)],
    }
    assert curves_of({"validation": [{"loss": 1}]}) == {"validation loss": [(0.0, 1.0)]}
    assert curves_of(None) == {}


def test_the_page_draws_within_its_frame_and_needs_no_network(tmp_path):
    points = [{"step": step, "loss <b>": 1 / step} for step in (1, 5, 9)]
    write_json(tmp_path / "training.json", {"history": points})
    write_training_curves(tmp_path, tmp_path / "curves.html")
    page = (tmp_path / "curves.html").read_text()
    assert "<b>" not in page
    assert "http" not in page
    (line,) = re.findall(r'<polyline points="([^"]*)"', page)
    places = [tuple(map(float, place.split(","))) for place in line.split()]
    assert len(places) == 3
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted(y for _, y in places), "a falling loss falls"
    assert all(0 <= x <= 420 and 0 <= y <= 200 for x, y in places)


def test_one_point_and_an_empty_history_are_drawn_too(tmp_path):
    write_json(tmp_path / "training.json", {"history": [{"step": 3, "loss": 0.0}]})
    write_training_curves(tmp_path, tmp_path / "curves.html")
    assert "<polyline" in (tmp_path / "curves.html").read_text()
    write_json(tmp_path / "training.json", {"history": []})
    write_training_curves(tmp_path, tmp_path / "curves.html")
    assert "empty" in (tmp_path / "curves.html").read_text()
