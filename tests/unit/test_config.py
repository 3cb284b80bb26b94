"""Configuration: where settings come from, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from sonic_lib.config import Config, load_config
from sonic_lib.errors import ConfigError, TableError
from sonic_lib.fingerprint.params import ALGORITHM, FingerprintParams

CONF = Path(__file__).parents[2] / "conf" / "sonic.yaml"


@pytest.fixture
def config_file(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "my.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def refusal(*args) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(*args)
    return str(caught.value)


def test_conf_file_lists_every_setting_with_its_default():
    assert load_config(str(CONF)) == load_config() == Config()
    assert yaml.safe_load(CONF.read_text()) == json.loads(Config().model_dump_json())


def test_default_fingerprint_is_the_librarys():
    assert Config().fingerprint.params() == FingerprintParams()


def test_file_overrides_defaults_and_set_overrides_the_file(config_file):
    path = config_file("warehouse: a\nindex: {task_mb: 2, batch_gb: 3}\n")
    config = load_config(path, ["index.task_mb=4", "identify.false_accept_rate=0.2"])
    assert config.warehouse == "a"
    assert (config.index.task_mb, config.index.batch_gb) == (4, 3)
    assert config.identify.false_accept_rate == 0.2
    assert config.index.min_duration_s == Config().index.min_duration_s


def test_last_set_wins_and_values_may_contain_equals_signs_and_lists():
    config = load_config(
        None, ["warehouse=a", "warehouse=s3a://b/c=d", "fingerprint.densities_per_s=[4, 40]"]
    )
    assert config.warehouse == "s3a://b/c=d"
    assert config.fingerprint.params().densities_per_s == (4, 40)


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_empty_file_keeps_the_defaults(config_file, text):
    assert load_config(config_file(text)) == Config()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["index.task_md=3"], ["index.task_md"]),
        (["indx.task_mb=3"], ["indx"]),
        (["index.task_mb=many"], ["index.task_mb", "'many'"]),
        (["index.task_mb=0"], ["index.task_mb", "greater than 0"]),
        (["index=3"], ["index", "3"]),
        (["index.task_mb"], ["'index.task_mb'", "key=value"]),
        (["warehouse=a", "warehouse.b=c"], ["warehouse"]),
        (["fingerprint.densities_per_s=[16, 8]"], ["densities_per_s", "ascend"]),
        (["fingerprint.densities_per_s=[8, 8]"], ["densities_per_s", "ascend"]),
        (["fingerprint.densities_per_s=[]"], ["densities_per_s"]),
        (["fingerprint.min_hz=2000", "fingerprint.max_hz=2100"], ["max_hz", "500 Hz above"]),
        (["fingerprint.max_hz=6000"], ["fingerprint.max_hz", "5900"]),
        (["fingerprint.prefix_bits=13"], ["fingerprint.prefix_bits", "12"]),
        (["identify.false_accept_rate=1"], ["identify.false_accept_rate", "less than 1"]),
        (["identify.max_hits_per_window=0"], ["identify.max_hits_per_window"]),
    ],
)
def test_bad_settings_are_refused_by_name(overrides, words):
    message = refusal(None, overrides)
    assert [word for word in words if word not in message] == []


def test_all_problems_are_reported_at_once():
    message = refusal(None, ["index.task_mb=0", "identify.colour=red"])
    assert "index.task_mb" in message
    assert "identify.colour" in message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a\n- b\n", "mapping"),
        ("just words", "mapping"),
        ("a: [1, 2", "cannot be read"),
        ("colour: red\n", "colour"),
        ("index: 3\n", "index"),
    ],
)
def test_bad_file_is_named(config_file, text, word):
    path = config_file(text)
    message = refusal(path)
    assert path in message
    assert word in message


def test_missing_and_binary_files_are_named(tmp_path):
    assert "absent.yaml" in refusal(str(tmp_path / "absent.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00warehouse")
    assert "binary.yaml" in refusal(str(tmp_path / "binary.yaml"))


def test_invalid_yaml_value_is_a_configuration_error():
    assert "index.task_mb" in refusal(None, ["index.task_mb=[1"])


def test_section_without_lines_is_empty(config_file):
    path = config_file("index:\n  # task_mb: 16\n")
    assert load_config(path) == Config()
    assert load_config(path, ["index.task_mb=5"]).index.task_mb == 5


def test_configuration_is_immutable():
    with pytest.raises(ValidationError, match="frozen"):
        Config().warehouse = "elsewhere"


def test_different_params_have_different_texts():
    texts = {
        FingerprintParams(*values).to_json()
        for values in [(60.0,), (300.0,), (60.0, 5000.0), (60.0, 5470.0, (8,))]
    }
    assert len(texts) == 4
    assert FingerprintParams(60.0).to_json() == FingerprintParams().to_json()


def test_params_set_to_a_whole_number_are_the_same_params():
    config = load_config(None, ["fingerprint.min_hz=60"])
    assert config.fingerprint.params().to_json() == FingerprintParams().to_json()


def test_table_of_other_params_is_refused_with_the_settings_to_use():
    ours, theirs = FingerprintParams(), FingerprintParams(400.0, densities_per_s=(8, 20))
    ours.check_table(ours.to_json(), warehouse="lake")
    with pytest.raises(TableError) as caught:
        ours.check_table(theirs.to_json(), warehouse="lake")
    settings = re.findall("--set '(.+?)'", str(caught.value))
    assert load_config(None, settings).fingerprint.params() == theirs
    older = theirs.to_json().replace(ALGORITHM, "triangles-0")
    for unknown in (None, older):
        with pytest.raises(TableError, match="another warehouse") as caught:
            ours.check_table(unknown, warehouse="lake")
        assert "--set" not in str(caught.value)


def test_mlflow_must_be_installed_to_be_chosen(monkeypatch):
    monkeypatch.setattr("sonic_lib.config.find_spec", lambda name: None)
    said = refusal(None, ["models.registry=mlflow"])
    assert "-m pip install mlflow" in said.replace("'", "")
    assert "directory" in refusal(None, ["models.registry=cupboard"])


@pytest.mark.parametrize("made_with", ["x", "[]", "[" * 100_000, "3", '{"algorithm": 1}'])
def test_table_with_invalid_params_is_refused(made_with):
    with pytest.raises(TableError, match="index into another warehouse"):
        FingerprintParams().check_table(made_with, warehouse="w")


def bomb() -> str:
    """Ten lines that expand to 3,486,784,401 values."""
    lists = [f"l{i}: &l{i} [{', '.join(['*l' + str(i - 1)] * 9)}]" for i in range(1, 10)]
    return "\n".join(["l0: &l0 [x, x, x, x, x, x, x, x, x]", *lists, "warehouse: *l9"])


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{a: " * 5_000, bomb(), "warehouse: 2001-13-45", "&a [*a]", "a\0b"],
    ids=["lists", "mappings", "a bomb", "no date", "a circle", "bytes of 0"],
)
def test_malicious_file_is_refused_in_a_few_lines(config_file, text):
    with pytest.raises(ConfigError) as caught:
        load_config(str(config_file(text)))
    assert len(str(caught.value)) < 5_000
