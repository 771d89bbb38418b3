import pytest

from components.evaluation.bias.facets import Facet
from components.evaluation.bias.gate import check_before, judged, parse_gate
from components.shared.machine.errors import UserError

FACETS = (Facet("product_category", "age"), Facet("age", "product_category"))
CLASSES = ("bad", "not-so-bad", "good")


def parse(text):
    return parse_gate(text, FACETS, CLASSES)


@pytest.mark.parametrize(
    ("text", "stage", "of_class", "most"),
    [
        ("DPPL:not-so-bad:product_category<=0.1", "predictions", "not-so-bad", 0.1),
        (" DPL:good:age <= 5e-2 ", "data", "good", 0.05),
        ("AD:age<=0.05", "predictions", "", 0.05),
        ("AD:good:age<=0.05", "predictions", "good", 0.05),
        ("TVD:age<=.2", "predictions", "", 0.2),
        ("DI:good:age<=0.2", "predictions", "good", 0.2),
    ],
)
def test_a_limit_is_read(text, stage, of_class, most):
    limit = parse(text)
    assert (limit.stage, limit.class_name, limit.most) == (stage, of_class, most)


def test_no_text_is_no_limit():
    assert parse("  ") is None
    assert judged(None, [])["within"] is True


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "METRIC:CLASS:FACET<=NUMBER"),
        ("DPPL:good:age>=0.1", "METRIC:CLASS:FACET<=NUMBER"),
        ("dppl:good:age<=0.1", "dppl is no metric; name one of DPL, DPPL"),
        ("DPPL:great:age<=0.1", "great is no class; name one of bad, not-so-bad, good"),
        ("DPPL:age<=0.1", "DPPL is of one class; name one of bad"),
        ("TVD:good:age<=0.1", "write TVD:age<=0.1"),
        ("DPPL:good:colour<=0.1", "colour is not measured; name one of product_category, age"),
        ("DPPL:good:age<=many", "many is no limit; give a number above 0"),
        ("DPPL:good:age<=nan", "nan is no limit"),
        ("DPPL:good:age<=-1", "-1 is no limit"),
        ("DPPL:good:age<=inf", "inf is no limit"),
        ("DI:good:age<=1.2", "a number above 0 and below 1"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text, said):
    with pytest.raises(UserError) as refused:
        parse(text)
    assert said in str(refused.value)
    assert repr(text) in str(refused.value)


def entry(group, low, high, facet="age", of_class="good", metric="DPPL", stage="predictions"):
    known = {"facet": facet, "class": of_class, "metric": metric, "stage": stage}
    return known | {"group": group, "low": low, "high": high}


def test_only_an_interval_wholly_beyond_breaks_the_limit():
    entries = [
        entry("far", 0.11, 0.3),
        entry("near", 0.09, 0.3),
        entry("other side", -0.3, -0.11),
        entry("small", None, None),
        entry("elsewhere", 0.5, 0.6, facet="product_category"),
        entry("in the data", 0.5, 0.6, metric="DPL", stage="data"),
        entry("other class", 0.5, 0.6, of_class="bad"),
    ]
    verdict = judged(parse("DPPL:good:age<=0.1"), entries)
    assert verdict["within"] is False
    assert verdict["broken_by"] == ["far", "other side"]
    assert verdict["unknown"] == 1
    assert "beyond 0.1 for sure in far, other side" in verdict["reason"]
    assert judged(parse("DPPL:good:age<=0.3"), entries)["within"] is True


def test_a_ratio_is_limited_on_both_sides_of_one():
    limit = parse("DI:good:age<=0.2")
    assert limit.is_broken(0.5, 0.79)
    assert limit.is_broken(1.26, 2)
    assert not limit.is_broken(0.79, 1.26)


DEFAULTS = {"facets": "product_category age", "bias_gate": "", "labels": "sentiments"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bias_gate": "DPPL:good:age<=0.1"}, "good is no class; name one of negative, neutral"),
        ({"bias_gate": "TVD:division<=0.1", "facets": "age"}, "division is not measured"),
        ({"facets": "colour"}, "facets names 'colour'"),
        ({"facets": "colour", "labels": ""}, "facets names 'colour'"),
    ],
)
def test_what_the_bias_step_would_refuse_is_refused_before_training(given, words):
    with pytest.raises(UserError, match=words):
        check_before(DEFAULTS | given)


def test_a_limit_on_a_class_of_ones_own_passes_and_so_does_one_that_a_step_will_find():
    limit = {"bias_gate": "DPPL:good:age<=0.1"}
    check_before(DEFAULTS | limit | {"labels": "bad=0 good=1"})
    check_before(DEFAULTS | limit | {"labels": ""})
    check_before({"version": "a pipeline that measures no bias"})
