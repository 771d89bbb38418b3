from dataclasses import replace

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


def shares(split):
    return {backend.version: backend.percent for backend in split.backends}


FIRST = Wanted(None, ONE, 100)


def test_a_first_deployment_starts_a_server_and_has_nobody_to_answer_until_it_is_ready():
    assert reconcile(FIRST, [], None, None) == Plan((ONE,), Split(), (), None)
    starting = seen(ONE, ready=False)
    assert reconcile(FIRST, [starting], None, Split()) == Plan((), Split(), (), None)
    assert reconcile(FIRST, [seen(ONE)], None, Split()) == Plan((), alone(ONE), (), None)
    assert reconcile(Wanted(ONE), [seen(ONE)], None, alone(ONE)).serving == ONE.key


def test_a_canary_gets_its_share_once_it_is_ready():
    wanted = Wanted(ONE, TWO, 10)
    plan = reconcile(wanted, [seen(ONE)], ONE.key, alone(ONE))
    assert plan == Plan((TWO,), alone(ONE), (), ONE.key)
    # One that failed is held back for a while, and another is not.
    assert reconcile(wanted, [], None, None, held_back={TWO.key}).start == (ONE,)
    both = reconcile(wanted, [seen(ONE), seen(TWO)], ONE.key, alone(ONE))
    assert both.start == both.end == ()
    assert shares(both.split) == {"1": 90, "2": 10}
    without = reconcile(wanted, [seen(ONE), seen(TWO, ready=False)], ONE.key, both.split)
    assert shares(without.split) == {"1": 100}
    assert without.end == ()


def test_a_stable_version_without_a_share_stands_by_until_the_promotion():
    processes = [seen(ONE), seen(TWO)]
    everything = reconcile(Wanted(ONE, TWO, 100), processes, ONE.key, alone(ONE))
    assert shares(everything.split) == {"1": 0, "2": 100}
    # The promoted canary's process is the stable one at once, and nothing is started.
    promoted = reconcile(Wanted(TWO), processes, ONE.key, everything.split)
    assert promoted == Plan((), alone(TWO), (), TWO.key)
    # The one before ends when the splitter has let go of it.
    assert reconcile(Wanted(TWO), processes, TWO.key, alone(TWO), draining=True).end == ()
    assert reconcile(Wanted(TWO), processes, TWO.key, alone(TWO)).end == (seen(ONE).id,)


def test_another_stable_version_replaces_the_one_before_only_when_ready():
    plan = reconcile(Wanted(TWO), [seen(ONE)], ONE.key, alone(ONE))
    assert plan == Plan((TWO,), alone(ONE), (), ONE.key)
    processes = [seen(ONE), seen(TWO, ready=False)]
    plan = reconcile(Wanted(TWO), processes, ONE.key, alone(ONE))
    assert plan == Plan((), alone(ONE), (), ONE.key)
    assert reconcile(Wanted(TWO), [seen(ONE), seen(TWO)], ONE.key, alone(ONE)).serving == TWO.key
    # What serves until then may be the canary itself.
    plan = reconcile(Wanted(TWO, ONE, 10), [seen(ONE)], ONE.key, alone(ONE))
    assert plan == Plan((TWO,), alone(ONE), (), ONE.key)


def test_a_rolled_back_canary_loses_its_share_before_it_ends():
    split = Split((Backend("1", 20_011, 90), Backend("2", 20_021, 10)))
    processes = [seen(ONE), seen(TWO)]
    assert reconcile(Wanted(ONE), processes, ONE.key, split) == Plan((), alone(ONE), (), ONE.key)
    assert reconcile(Wanted(ONE), processes, ONE.key, alone(ONE)).end == (seen(TWO).id,)
    ending = [seen(ONE), seen(TWO, ready=False, ending=True)]
    assert reconcile(Wanted(ONE), ending, ONE.key, alone(ONE)) == Plan((), alone(ONE), (), ONE.key)
    # Asked for again while it ends: it needs a new process.
    assert reconcile(Wanted(ONE, TWO), ending, ONE.key, alone(ONE)).start == (TWO,)


def test_the_canary_takes_over_from_a_stable_version_that_is_down():
    plan = reconcile(Wanted(ONE, TWO, 20), [seen(TWO)], ONE.key, alone(ONE))
    assert (plan.start, plan.split, plan.serving) == ((ONE,), alone(TWO), None)
    # One that is to answer nobody does not.
    assert reconcile(Wanted(ONE, TWO), [seen(TWO)], None, None).split == Split()


def test_a_shadow_gets_a_copy_only_where_it_has_no_share():
    processes = [seen(ONE), seen(TWO)]
    plan = reconcile(Wanted(ONE, TWO, 0, True), processes, ONE.key, None)
    assert plan.split == Split(alone(ONE).backends, Backend("2", 20_021, 0))
    for wanted in (Wanted(ONE, TWO, 10, True), Wanted(ONE, TWO), Wanted(ONE, shadow=True)):
        assert reconcile(wanted, processes, ONE.key, None).split.shadow is None


def test_where_nothing_is_wanted_everything_ends():
    plan = reconcile(None, [seen(ONE)], ONE.key, alone(ONE))
    assert (plan.split, plan.end, plan.serving) == (Split(), (), None)
    assert reconcile(None, [seen(ONE)], None, Split()).end == (seen(ONE).id,)


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
            assert shares(in_effect).get(wanted.canary.version, 0) == wanted.percent


def after(process, plan):
    """A process as it is one look later: those that start have become ready."""
    if process.id in plan.end:
        return replace(process, ending=True, port=None)
    port = 20_000 + 10 * int(process.version) + int(process.id[-1])
    return replace(process, port=port)
