import signal
import threading

from components.training.loop.preemption import Termination


def test_sigterm_is_noted_within_and_as_before_outside():
    before = signal.getsignal(signal.SIGTERM)
    with Termination() as termination:
        assert not termination.asked
        signal.raise_signal(signal.SIGTERM)
        assert termination.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_leave_the_signal_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def enter():
        with Termination() as termination:
            seen.append((termination.asked, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
