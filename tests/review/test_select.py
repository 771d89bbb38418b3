import json
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest

from components.review.drawing import uncertainty
from components.review.options import ReviewOptions
from components.review.queues import draw_live, live_reviews
from components.shared.machine.errors import UserError
from components.shared.records.labels import SENTIMENTS, LabelSet
from components.shared.records.resolved_labels import WEIGHT_CAP
from components.shared.records.review_items import CANNOT_TELL
from tests.review.conftest import (
    START,
    Review,
    log_rows,
    log_table,
    suspect_rows,
    write_log,
    write_suspects,
)


def ids(items):
    return [item["item_id"] for item in items]


def best(rows):
    """Probability of each row's answer."""
    return np.array([max(row[f"p_{name}"] for name in SENTIMENTS.names) for row in rows])


def test_three_queues_get_their_shares(review, tmp_path):
    log = write_log(tmp_path / "log", log_rows(3_000))
    suspects = write_suspects(tmp_path / "suspects", suspect_rows(40))
    items, summary = review.select(log, suspects)
    drawn = summary["drawn"]
    assert drawn["label_noise"] == 18  # 0.3 of 60
    assert drawn["uncertain"] == pytest.approx(30, abs=18)
    assert drawn["audit"] == pytest.approx(12, abs=11)
    assert sum(drawn.values()) == len(items) == summary["items_ever"]
    assert summary["log"] == {"rows": 3000, "without_text": 0, "asked_before": 0, "texts": 3000} | {
        "skipped": []
    }


def test_the_same_window_gives_the_same_items_and_another_seed_others(review, tmp_path):
    log = write_log(tmp_path / "log", log_rows(2_000))
    first, _ = review.select(log)
    again, _ = review.select(log)
    assert ids(again) == ids(first)
    write_log(tmp_path / "log", log_rows(500, seed=5), name="late")
    assert ids(review.select(log)[0]) == ids(first)  # what came late is no reason to draw anew
    fresh = Review(tmp_path / "fresh")
    write_log(tmp_path / "whole", log_rows(2_000))
    assert ids(fresh.select(tmp_path / "whole")[0]) == ids(first)
    other = Review(tmp_path / "other")
    other.options = ReviewOptions(items=60, seed=7)
    assert set(ids(other.select(tmp_path / "whole")[0])) != set(ids(first))


def test_every_live_review_is_drawn_as_often_as_its_probability_says():
    """Over many seeds; whichever of the two queues it is that draws it."""
    live = live_reviews(log_table(log_rows(40)), (), SENTIMENTS)
    times, told = Counter(), {}
    for seed in range(500):
        for item in draw_live(live, 12, 8, "a draw", seed, SENTIMENTS).to_pylist():
            times[item["item_id"]] += 1
            told[item["item_id"]] = item["inclusion_probability"]
    assert len(told) == 40
    for name, expected in told.items():
        spread = (expected * (1 - expected) / 500) ** 0.5
        assert times[name] / 500 == pytest.approx(expected, abs=4 * spread + 1e-9)


def test_what_both_queues_draw_belongs_to_the_audit_which_stays_a_sample_by_chance():
    live = live_reviews(log_table(log_rows(400)), (), SENTIMENTS)
    both = [draw_live(live, 200, 100, "a draw", seed, SENTIMENTS).to_pylist() for seed in range(20)]
    audits = [[item for item in items if item["queue"] == "audit"] for items in both]
    assert np.mean([len(items) for items in audits]) == pytest.approx(100, rel=0.1)
    assert np.mean([best(items).mean() for items in audits]) == pytest.approx(
        live.confidence.mean(), abs=0.02
    )


def test_the_unsure_answers_are_drawn_more_often_and_count_less(review, tmp_path):
    review.options = ReviewOptions(items=900, uncertain=0.9, audit=0.1, label_noise=0)
    rows = log_rows(4_000)
    items, summary = review.select(write_log(tmp_path / "log", rows))
    chosen = best(items)
    pi = np.array([item["inclusion_probability"] for item in items])
    weights = np.array([item["weight"] for item in items])
    assert np.corrcoef(uncertainty(chosen), pi)[0, 1] > 0.99
    assert weights.max() <= WEIGHT_CAP
    uncapped = weights < WEIGHT_CAP
    assert np.ptp(weights[uncapped] * pi[uncapped]) < 1e-9
    assert weights.sum() == pytest.approx(sum(summary["expected"].values()), rel=0.15)
    # Weighted by 1 / probability, the items stand for all answers.
    everyone = best(rows).mean()
    assert (chosen / pi).sum() / (1 / pi).sum() == pytest.approx(everyone, abs=0.03)
    assert chosen.mean() < everyone - 0.03


def test_equal_texts_are_asked_about_once_and_never_again(review, tmp_path):
    review.options = ReviewOptions(items=1000, uncertain=0.5, audit=0.5, label_noise=0)
    rows = [row | {"text": f"Great {number % 3} !"} for number, row in enumerate(log_rows(30))]
    log = write_log(tmp_path / "log", rows)
    items, summary = review.select(log)
    assert [item["occurrences"] for item in items] == [10, 10, 10]
    assert {item["inclusion_probability"] for item in items} == {1.0}
    later = [
        row | {"time": row["time"] + timedelta(days=1), "text": row["text"].upper()}
        for row in log_rows(3, seed=4) + rows
    ]
    write_log(tmp_path / "log", later)
    items, summary = review.select(log, until="2026-11-25T00:00:00+00:00")
    assert (len(items), summary["log"]["asked_before"], summary["log"]["texts"]) == (6, 30, 3)
    assert summary["since"] == "2026-11-23T00:00:00+00:00"


def test_rows_whose_text_was_not_kept_are_counted_and_left_out(review, tmp_path):
    rows = log_rows(10)
    rows[0]["text"] = None
    rows[1]["text"] = "review_id=live-1"  # asked for by its key: there is nothing to read
    review.options = ReviewOptions(items=1000, uncertain=0.5, audit=0.5, label_noise=0)
    items, summary = review.select(write_log(tmp_path / "log", rows))
    assert (summary["log"]["without_text"], len(items)) == (2, 8)


def test_suspects_come_worst_first_masked_and_never_from_the_test_split(review, tmp_path):
    rows = suspect_rows(25, split="test")[:5] + suspect_rows(25)[5:]
    rows[7]["review_body"] = rows[6]["review_body"].upper()
    suspects = write_suspects(tmp_path / "suspects", rows)
    items, _ = review.select(suspects=suspects)
    assert ids(items) == ["s5", "s6", *(f"s{number}" for number in range(8, 24))]
    assert items[0]["review_body"] == "Suspect 5, call me [name]"
    assert (items[0]["given"], items[0]["label"]) == ("negative", "positive")
    assert items[0]["inclusion_probability"] == items[0]["weight"] == 1.0


def test_while_items_wait_for_votes_few_new_ones_are_drawn(review, tmp_path):
    suspects = write_suspects(tmp_path / "suspects", suspect_rows(90))
    assert len(review.select(suspects=suspects)[0]) == 18
    items, summary = review.select(suspects=suspects, until="2026-11-24T00:00:00+00:00")
    assert (len(items), summary["drawn"]) == (20, {"label_noise": 2})


def test_a_draw_that_was_killed_before_its_items_were_kept_is_made_again(review, tmp_path):
    log = write_log(tmp_path / "log", log_rows(500))
    first, _ = review.select(log)
    (kept,) = (review.folder / "items").glob("*.parquet")
    kept.unlink()
    assert ids(review.select(log)[0]) == ids(first)


def test_the_window_goes_on_where_the_last_one_ended(review, tmp_path):
    log = write_log(tmp_path / "log", log_rows(1200))
    half = (START + timedelta(minutes=100)).isoformat()
    assert review.select(log, until=half)[1]["log"]["rows"] == 600
    assert review.select(log)[1]["log"]["rows"] == 600
    # Earlier than what was drawn already: there is nothing between.
    with pytest.raises(UserError, match=r"begins at .* name a later end"):
        review.select(log, until=half.replace("T01:", "T00:"))
    with pytest.raises(UserError, match="until is 'noon'; give a time such as"):
        review.select(log, until="noon")


@pytest.mark.parametrize("names", ["bad good", "one two three four five"])
def test_label_sets_of_two_and_five_are_reviewed_as_well(tmp_path, names):
    labels = LabelSet.parse(names)
    one = Review(tmp_path, labels)
    log = write_log(tmp_path / "log", log_rows(500, labels), labels)
    suspects = write_suspects(tmp_path / "suspects", suspect_rows(5, labels), labels)
    items, summary = one.select(log, suspects)
    assert summary["classes"] == list(labels.names)
    assert set(summary["drawn"]) == {"uncertain", "label_noise", "audit"}
    assert all(f"p_{labels.names[-1]}" in item for item in items)


def test_without_log_and_suspects_nobody_is_asked(review):
    items, summary = review.select()
    assert (items, summary["drawn"]) == ([], {})
    assert summary["chosen"] in summary["thresholds"]


def test_a_truncated_file_of_the_log_is_left_out_and_named(review, tmp_path):
    log = write_log(tmp_path / "log", log_rows(40))
    write_log(tmp_path / "log", log_rows(40, seed=3), name="cut")
    (cut,) = (tmp_path / "log").rglob("cut.parquet")
    cut.write_bytes(cut.read_bytes()[:-30])
    _, summary = review.select(log)
    assert summary["log"]["rows"] == 40
    assert "cut.parquet" in summary["log"]["skipped"][0]


def test_suspects_that_are_named_must_be_there(review, tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        review.select(suspects=tmp_path / "nowhere")


def test_a_log_of_another_model_is_refused(review, tmp_path):
    labels = LabelSet.parse("bad good")
    log = write_log(tmp_path / "log", log_rows(5, labels), labels)
    with pytest.raises(UserError, match="is of the classes bad, good, the model of negative"):
        review.select(log)


def test_items_of_another_label_set_are_not_mixed_in(review, tmp_path):
    review.select(suspects=write_suspects(tmp_path / "suspects", suspect_rows(5)))
    other = Review(tmp_path, LabelSet.parse("bad good"))
    with pytest.raises(UserError, match=r"items of other classes.*REVIEW_DIR"):
        other.select()


def test_a_class_called_cannot_tell_is_refused(tmp_path):
    with pytest.raises(UserError, match="give it another name"):
        Review(tmp_path, LabelSet.parse(f"good {CANNOT_TELL}")).select()


def test_shares_that_do_not_add_up_are_refused():
    with pytest.raises(UserError, match=r"0.9 uncertain \+ 0.3 label_noise.*add up to 1"):
        ReviewOptions(uncertain=0.9)


def test_the_summary_is_strict_json(review, tmp_path):
    review.select(write_log(tmp_path / "log", log_rows(50)))
    json.loads((tmp_path / "selection").read_text(), parse_constant=pytest.fail)
