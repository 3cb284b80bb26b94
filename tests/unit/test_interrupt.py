"""Who handles Ctrl-C; tests/spark/test_start.py sends it to running jobs."""

from __future__ import annotations

import signal
import threading

import pytest
from pyspark import SparkContext

from sonic_lib.spark import session


@pytest.fixture(autouse=True)
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


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
