"""Named configs and what differs from a preset."""

import pytest

from executors.errors import InputError, MissingFileError
from training.config_reading import to_dict
from training.presets import get_preset
from workbench.runs.configs import ConfigShelf, NamedConfig, difference, preset_values


@pytest.fixture
def shelf(tmp_path):
    return ConfigShelf(tmp_path / "configs")


def test_round_trip(shelf):
    config = NamedConfig(name="mine", stage="sft", values=to_dict(get_preset("tiny", 2).sft), preset="tiny")
    shelf.save(config)
    assert shelf.load("mine") == config and shelf.names() == ["mine"]
    shelf.delete("mine")
    assert shelf.names() == []


def test_a_taken_name_is_replaced_only_when_asked(shelf):
    shelf.save(NamedConfig(name="a", stage="sft", values={}))
    with pytest.raises(InputError, match="exists"):
        shelf.save(NamedConfig(name="a", stage="sft", values={}))
    shelf.save(NamedConfig(name="a", stage="sft", values={"reactive_share": 0.5}), replace=True)
    assert shelf.load("a").values["reactive_share"] == 0.5


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".a", "a\0b"])
def test_names_that_are_paths_are_refused(name, shelf):
    for method in (shelf.load, shelf.delete, lambda n: shelf.save(NamedConfig(name=n, stage="sft", values={}))):
        with pytest.raises(InputError, match="name"):
            method(name)


@pytest.mark.parametrize(("stage", "values", "word"), [("sft", {"nope": 1}, "nope"), ("stage7", {}, "stage7")])
def test_what_could_not_be_launched_is_not_kept(shelf, stage, values, word):
    with pytest.raises(InputError, match=word):
        shelf.save(NamedConfig(name="a", stage=stage, values=values))
    assert shelf.names() == []


@pytest.mark.parametrize(
    "text", ["[", "x", "stage: sft", "stage: 3\nsettings: {}", "stage: sft\nsettings: {nope: 1}", "\xff"]
)
def test_damaged_files_are_told(shelf, text):
    shelf.folder.mkdir()
    (shelf.folder / "a.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"a\.yaml|stage 3"):
        shelf.load("a")


def test_what_is_not_there_is_told(shelf):
    for method in (shelf.load, shelf.delete):
        with pytest.raises(MissingFileError, match="nothing-here"):
            method("nothing-here")


def test_the_difference_from_a_preset():
    values = preset_values("tiny", "stage1", seed=1)
    assert difference("stage1", values, "tiny", seed=1) == []
    values["grpo"]["kl_coef"] = 0.5
    values["forecast"] = {"horizon": 3}
    assert difference("stage1", values, "tiny", seed=1) == [("forecast.horizon", None, 3), ("grpo.kl_coef", 0.01, 0.5)]
    with pytest.raises(InputError, match="no stage 'sft'"):
        preset_values("qwen3-vl-8b", "sft")
