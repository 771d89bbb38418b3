from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.deployment.local.model_servers import Seen
from components.deployment.local.service_file import ServedModel, Wanted
from components.deployment.local.site import Plan, reconcile
from components.deployment.local.splitter import Backend, Split

ONE, TWO, THREE = (ServedModel("review-sentiment", f"/m/{v}", v) for v in "123")


def seen(of, number=1, ready=True, ending=False):
    port = 20_000 + 10 * int(of.version) + number
    return Seen(f"{of.key}-{number}", of.key, of.version, port if ready else None, ending)


def alone(of, number=1):
    return Split((Backend(of.version, 20_000 + 10 * int(of.version) + number, 100),))


def shared(one, two):
    return Split((Backend("1", 20_011, one), Backend("2", 20_021, two)))


UP_1, UP_2 = seen(ONE), seen(TWO)
COMES_1, COMES_2 = seen(ONE, ready=False), seen(TWO, ready=False)
GOES_2 = seen(TWO, ready=False, ending=True)
BOTH_UP = [UP_1, UP_2]
FIRST, CANARY = Wanted(None, ONE, 100), Wanted(ONE, TWO, 10)
ANSWERS_1, ANSWERS_2 = (Plan((), alone(one), (), one.key) for one in (ONE, TWO))
BOTH_ANSWER = Plan((), shared(90, 10), (), ONE.key)
STARTS_2 = Plan((TWO,), alone(ONE), (), ONE.key)
SHADOWED = Plan((), Split(alone(ONE).backends, Backend("2", 20_021, 0)), (), ONE.key)

PLANS = {
    "a first deployment starts a server": [
        (FIRST, [], None, None, Plan((ONE,), Split(), (), None)),
        (FIRST, [COMES_1], None, Split(), Plan((), Split(), (), None)),
        (FIRST, [UP_1], None, Split(), Plan((), alone(ONE), (), None)),
        (Wanted(ONE), [UP_1], None, alone(ONE), ANSWERS_1),
    ],
    "of several servers one that is ready answers": [
        (Wanted(ONE), [COMES_1, seen(ONE, 2)], None, None, Plan((), alone(ONE, 2), (), ONE.key)),
    ],
    "a canary gets its share once it is ready, and none while it is not": [
        (CANARY, [UP_1], ONE.key, alone(ONE), STARTS_2),
        (CANARY, [UP_1, COMES_2], ONE.key, alone(ONE), ANSWERS_1),
        (CANARY, BOTH_UP, ONE.key, alone(ONE), BOTH_ANSWER),
        (CANARY, [UP_1, COMES_2], ONE.key, shared(90, 10), ANSWERS_1),
    ],
    "a promoted canary's process is the stable one, and the one before ends when it is let go": [
        (Wanted(ONE, TWO, 100), BOTH_UP, ONE.key, None, Plan((), shared(0, 100), (), ONE.key)),
        (Wanted(TWO), BOTH_UP, ONE.key, shared(0, 100), ANSWERS_2),
        (Wanted(TWO), BOTH_UP, TWO.key, alone(TWO), replace(ANSWERS_2, end=(UP_1.id,))),
    ],
    "another stable version replaces the one before, perhaps the canary, only when ready": [
        (Wanted(TWO), [UP_1], ONE.key, alone(ONE), STARTS_2),
        (Wanted(TWO), [UP_1, COMES_2], ONE.key, alone(ONE), ANSWERS_1),
        (Wanted(TWO), BOTH_UP, ONE.key, alone(ONE), ANSWERS_2),
        (Wanted(TWO, ONE, 10), [UP_1], ONE.key, alone(ONE), STARTS_2),
    ],
    "a rolled back canary loses its share before it ends, and comes back in a new process": [
        (Wanted(ONE), BOTH_UP, ONE.key, shared(90, 10), ANSWERS_1),
        (Wanted(ONE), BOTH_UP, ONE.key, alone(ONE), replace(ANSWERS_1, end=(UP_2.id,))),
        (Wanted(ONE), [UP_1, GOES_2], ONE.key, alone(ONE), ANSWERS_1),
        (Wanted(ONE, TWO), [UP_1, GOES_2], ONE.key, alone(ONE), STARTS_2),
    ],
    "a canary that has a share takes over from a stable version that is down": [
        (CANARY, [UP_2], ONE.key, alone(ONE), Plan((ONE,), alone(TWO), (), None)),
        (Wanted(ONE, TWO), [UP_2], None, None, Plan((ONE,), Split(), (), None)),
    ],
    "a shadow gets a copy only where it is wanted and has no share": [
        (Wanted(ONE, TWO, 0, True), BOTH_UP, ONE.key, None, SHADOWED),
        (Wanted(ONE, TWO, 10, True), BOTH_UP, ONE.key, None, BOTH_ANSWER),
        (Wanted(ONE, TWO), BOTH_UP, ONE.key, None, ANSWERS_1),
        (Wanted(ONE, shadow=True), BOTH_UP, ONE.key, None, ANSWERS_1),
    ],
    "where nothing is wanted everything ends": [
        (None, [UP_1], ONE.key, alone(ONE), Plan((), Split(), (), None)),
        (None, [UP_1], None, Split(), Plan((), Split(), (UP_1.id,), None)),
    ],
}


@pytest.mark.parametrize("case", PLANS)
def test_what_is_done_next(case):
    for *now, plan in PLANS[case]:
        assert reconcile(*now) == plan, now


def test_a_process_that_is_still_asked_does_not_end_and_a_model_that_failed_waits():
    assert reconcile(Wanted(TWO), BOTH_UP, TWO.key, alone(TWO), draining=True) == ANSWERS_2
    assert reconcile(CANARY, [], None, None, held_back={TWO.key}).start == (ONE,)


@st.composite
def wants(draw):
    stable = draw(st.none() | st.sampled_from([ONE, TWO, THREE]))
    others = [one for one in (ONE, TWO, THREE) if one is not stable]
    canary = draw(st.sampled_from([*others] if stable is None else [None, *others]))
    percent = draw(st.integers(0, 100)) if stable and canary else 100 if canary else 0
    return Wanted(stable, canary, percent, draw(st.booleans()))


processes_seen = st.lists(
    st.builds(
        seen, st.sampled_from([ONE, TWO, THREE]), st.integers(1, 3), st.booleans(), st.booleans()
    ),
    max_size=5,
    unique_by=lambda process: process.id,
)


@settings(max_examples=300, deadline=None)
@given(st.none() | wants(), processes_seen, st.sampled_from([None, ONE.key, TWO.key]))
def test_any_state_comes_to_rest_where_it_is_wanted(wanted, processes, serving):
    in_effect, draining = None, False
    for _ in range(8):
        plan = reconcile(wanted, processes, serving, in_effect, draining=draining)
        ports = {process.id: process.port for process in processes}
        asked = {backend.port for backend in plan.split.backends}
        asked |= {plan.split.shadow.port} if plan.split.shadow else set()
        assert not ({ports[i] for i in plan.end} & asked), "ended while it is asked"
        assert asked <= {ports[p.id] for p in processes if p.port and not p.ending}
        draining = in_effect is not None and plan.split != in_effect
        in_effect, serving = plan.split, plan.serving
        processes = [after(process, plan) for process in processes if not process.ending]
        processes += [seen(new, 9, ready=False) for new in plan.start]
    rest = reconcile(wanted, processes, serving, in_effect)
    assert rest == Plan((), in_effect, (), serving)
    assert sorted(p.key for p in processes) == sorted(wanted.models if wanted else {})
    if wanted:
        assert serving == (wanted.stable.key if wanted.stable else None)
        if wanted.canary:
            shares = {backend.version: backend.percent for backend in in_effect.backends}
            assert shares.get(wanted.canary.version, 0) == wanted.percent


def after(process, plan):
    """A process as it is one look later: those that start have become ready."""
    if process.id in plan.end:
        return replace(process, ending=True, port=None)
    port = 20_000 + 10 * int(process.version) + int(process.id[-1])
    return replace(process, port=port)
