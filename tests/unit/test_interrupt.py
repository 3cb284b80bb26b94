"""Who handles Ctrl-C; tests/spark/test_start.py sends it to running jobs."""

from __future__ import annotations

import signal
import threading

import pytest
from pyspark import SparkContext

from sonic_lib.spark import session


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handler_of_pyspark(signum, frame):
    raise AssertionError


handler_of_pyspark.__module__ = "pyspark.core.context"


@pytest.mark.parametrize("given", [signal.default_int_handler, handler_of_pyspark])
def test_handlers_of_python_and_pyspark_are_replaced(given):
    signal.signal(signal.SIGINT, given)
    session.cancel_jobs_on_interrupt()
    assert signal.getsignal(signal.SIGINT) is session.interrupt


@pytest.mark.parametrize("given", [signal.SIG_IGN, lambda signum, frame: None])
def test_handlers_of_others_stay(given):
    signal.signal(signal.SIGINT, given)
    session.cancel_jobs_on_interrupt()
    assert signal.getsignal(signal.SIGINT) is given


@pytest.mark.parametrize(
    ("given", "expected"),
    [(signal.SIG_DFL, signal.SIG_DFL), (signal.default_int_handler, session.interrupt)],
)
def test_sigterm_is_handled_only_where_it_acts_like_ctrl_c(given, expected):
    signal.signal(signal.SIGTERM, given)
    session.cancel_jobs_on_interrupt()
    assert signal.getsignal(signal.SIGTERM) == expected


def test_other_threads_set_no_handler():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=session.cancel_jobs_on_interrupt)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupt_without_spark_is_one_of_python(monkeypatch):
    monkeypatch.setattr(SparkContext, "_active_spark_context", None)
    with pytest.raises(KeyboardInterrupt):
        session.interrupt(signal.SIGINT, None)
