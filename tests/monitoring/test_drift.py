from components.monitoring.drift import judged
from tests.monitoring.made_up_summary import finding


def test_the_family_of_tests_keeps_one_alpha():
    """Eight columns at 2 % each would alarm in every seventh look."""
    family = [finding(f"column {n}", p=0.02, drifted=False) for n in range(7)]
    family.append(finding("changed", p=1e-6, effect=0.05))
    found = judged(family, 0.05, 0.01)
    assert [one.name for one in found if one.drifted] == ["changed"]
    assert found[0].name == "changed"
    assert found[0].p_holm == 8e-6


def test_an_effect_too_small_to_matter_does_not_drift():
    assert not judged([finding(p=1e-9, effect=0.009)], 0.05, 0.01)[0].drifted
    assert judged([finding(p=1e-9, effect=0.01)], 0.05, 0.01)[0].drifted


def test_what_drifted_comes_first_and_then_the_largest():
    family = [finding("large", p=0.5, effect=0.3), finding("less", p=0.5, effect=0.1)]
    family.append(finding("drifted", p=1e-9, effect=0.02))
    assert [one.name for one in judged(family, 0.05, 0.01)] == ["drifted", "large", "less"]
