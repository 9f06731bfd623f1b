"""Settings: files, --set, checks, and one line of help for every field."""

import dataclasses

import pytest
import yaml

from executors.errors import InputError, MissingFileError
from training.config import STAGES, ForecastConfig, OptimConfig, SftConfig, Stage1Config, Stage2Config, field_docs
from training.config_reading import from_dict, load_config, to_dict


def _groups(cls):
    """The class and all settings groups in it."""
    yield cls
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(f.default_factory):
            yield from _groups(f.default_factory)


@pytest.mark.parametrize("cls", sorted({g for c in STAGES.values() for g in _groups(c)}, key=lambda c: c.__name__))
def test_every_field_has_one_line_of_help(cls):
    docs = field_docs(cls)
    for f in dataclasses.fields(cls):
        assert docs.get(f.name), f"{cls.__name__}.{f.name}"
        assert "\n" not in docs[f.name]


@pytest.mark.parametrize(
    "config",
    [SftConfig(), Stage1Config(model="a"), Stage2Config(model="a", forecast=ForecastConfig(horizon=3))],
)
def test_config_survives_yaml(config):
    text = yaml.safe_dump(to_dict(config))
    assert from_dict(type(config), yaml.safe_load(text)) == config


def test_overrides_win_over_the_file(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: here\noptim:\n  num_steps: 5\n  learning_rate: 1e-5\n")
    overrides = ["optim.num_steps=7", "forecast.horizon=2", "data.path=/a: b", "model=2024"]
    config = load_config(Stage1Config, path, overrides)
    assert (config.optim.num_steps, config.optim.learning_rate) == (7, 1e-5)
    assert (config.forecast.horizon, config.data.path, config.model) == (2, "/a: b", "2024")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.num_step=5"], r"optim\.num_step' does not exist: did you mean optim\.num_steps"),
        (["zzz=5"], "'zzz' does not exist: known here"),
        (["optim.num_steps"], "not key=value"),
        (["=5"], "not key=value"),
        (["optim.num_steps=many"], r"optim\.num_steps': 'many' is not a whole number"),
        (["optim.num_steps=1.5"], "is not a whole number"),
        (["optim.num_steps=true"], "is not a whole number"),
        (["optim.num_steps=0"], "num_steps"),
        (["optim.learning_rate=.nan"], r"optim\.learning_rate': nan is not a finite number"),
        (["optim.learning_rate=inf"], "is not a finite number"),
        (["optim=5"], "'optim': 5 is not a group of settings"),
        (["optim.num_steps.x=5"], r"optim\.num_steps"),
        (["optim=5", "optim.num_steps=3"], "'optim': '5' is not a group of settings"),
        (["grpo.drop_zero_variance=maybe"], "is not true or false"),
        (["reward.gamma=1.5"], "gamma"),
        (["reward.overlong=often"], "penalise or ignore"),
        (["grpo.group_size=3"], r"optim\.batch_size': 8 is not allowed: give a multiple of grpo\.group_size, 3"),
        (["optim.seed=-1"], r"^config field 'optim\.seed': -1 is not allowed"),
        (["data.seed=-1"], r"^config field 'data\.seed'"),
        (["lora.dropout=1"], r"^config field 'lora\.dropout': 1\.0 is not allowed: give at least 0 and below 1"),
        (["optim.num_threads=-1"], "num_threads"),
        (["optim.weight_decay=-1"], "weight_decay"),
        (["optim.max_grad_norm=0"], "max_grad_norm"),
        (["grpo.clip_low=1"], "clip_low': 1.0 is not allowed: give at least 0 and below 1"),
        (["grpo.clip_high=-0.1"], "clip_high"),
        (["model="], "'model': '' is not allowed: give a checkpoint folder"),
    ],
)
def test_bad_override_names_the_field(overrides, message):
    with pytest.raises(InputError, match=message):
        load_config(Stage1Config, None, ["model=x", *overrides])


@pytest.mark.parametrize(
    "override", ["text_warmup_batch_size=0", "reading_learning_rate=0", "tiny.vision_hidden_size=100"]
)
def test_bad_override_of_the_warm_start_names_the_field(override):
    with pytest.raises(InputError, match=override.partition("=")[0].rpartition(".")[2]):
        load_config(SftConfig, None, [override])


def test_missing_required_field_is_named():
    with pytest.raises(InputError, match="'model' is missing"):
        load_config(Stage1Config, None, [])


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "is not YAML"), ("- 1", "is not a mapping"),
     ("[]", "is not a mapping"), ("false", "is not a mapping"), ("''", "is not a mapping"),
     ("optim: 3", "group of settings"),
     ("model: a\noptim: {seed: 1, seed: 2}", r"'seed' is given twice.*line 2"), ("model: a\nmodel: b", "given twice"),
     ("a: 2024-13-45", "is not YAML"), ("a: " + "[" * 5000, "is not YAML"),
     ("optim: {num_steps: 0}", r"'optim\.num_steps'")]
)
def test_bad_file_names_the_problem(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(SftConfig, path, [])


@pytest.mark.parametrize("text", ["optim: 3", "optim: [3]", "optim: ''"])
def test_override_does_not_hide_that_the_file_has_no_group_there(tmp_path, text):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"'optim': .* is not a group of settings"):
        load_config(SftConfig, path, ["optim.num_steps=5"])


def test_empty_file_and_empty_group_leave_the_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("# nothing yet\n")
    assert load_config(SftConfig, path, []) == SftConfig()
    path.write_text("optim:\n")
    assert load_config(SftConfig, path, ["optim.num_steps=5"]).optim.num_steps == 5


def test_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"no\.yaml"):
        load_config(SftConfig, tmp_path / "no.yaml", [])


def test_configs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OptimConfig().num_steps = 3
