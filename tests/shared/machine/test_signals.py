import os
import signal
import threading

from components.shared.machine.signals import on_sigterm


def test_sigterm_calls_the_action_while_the_body_runs_and_the_old_handler_after():
    called = []
    before = signal.signal(signal.SIGTERM, lambda *_: called.append("before"))
    try:
        with on_sigterm(lambda: called.append("body")):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called == ["body", "before"]


def test_a_thread_runs_its_body_without_touching_signals():
    ran = []

    def body():
        with on_sigterm(lambda: None):
            ran.append(signal.getsignal(signal.SIGTERM))

    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert ran == [handler]
