from __future__ import annotations

import inspect
import pickle

import pytest

from sonic_lib import errors

ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, Exception)]


@pytest.mark.parametrize("error", ALL)
def test_every_error_is_a_sonic_error_and_documents_when_it_is_raised(error):
    assert issubclass(error, errors.SonicError)
    assert error.__doc__.startswith("Raised when")


@pytest.mark.parametrize(
    ("error", "code"), [("ConfigError", 2), ("UsageError", 2), ("SetupError", 1), ("TableError", 1)]
)
def test_exit_code_distinguishes_wrong_usage_from_failure(error, code):
    assert getattr(errors, error).exit_code == code


def test_decode_error_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.DecodeError("decode", "no audio stream")))
    assert (error.stage, str(error)) == ("decode", "no audio stream")
