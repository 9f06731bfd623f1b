"""The launch form: made of the config dataclasses, and read back into them."""

from __future__ import annotations

import pytest

from executors.errors import InputError
from training.config import STAGES, OptimConfig, Stage1Config, field_docs
from training.presets import get_preset
from workbench.train_form import flatten, form_groups, read_form, render_form, show_value


@pytest.mark.parametrize("stage", STAGES)
def test_every_setting_of_a_stage_is_in_the_form_with_its_help(stage: str) -> None:
    config = getattr(get_preset("smoke"), stage)
    fields = {field.key: field for group in form_groups(stage) for field in group.fields}
    assert set(flatten(config)) - {"forecast"} <= set(fields)
    assert [key for key, field in fields.items() if not field.help] == []
    page = render_form(stage, flatten(config), flatten(config))
    assert [key for key in fields if f'name="{key}"' not in page] == []


def test_ranges_choices_and_units_are_those_of_the_config() -> None:
    fields = {field.key: field for group in form_groups("stage1") for field in group.fields}
    assert fields["optim.schedule"].choices == ("constant", "linear", "cosine")
    assert fields["forecast.horizon"].allowed == "1..32 steps" and fields["forecast.horizon"].unit == "steps"
    assert fields["reward.parse_failure"].allowed == "-10..0"
    assert fields["data.path"].allowed == "" and fields["data.path"].choices == ()
    assert fields["model"].is_required


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("preset", ["smoke", "tiny"])
def test_what_the_form_shows_reads_back_as_the_same_config(stage: str, preset: str) -> None:
    config = getattr(get_preset(preset), stage)
    typed = {
        key: value if isinstance(value, bool) or value is None else str(value)
        for key, value in flatten(config).items()
    }
    assert read_form(stage, typed) == config


def test_a_number_typed_wrongly_is_told_with_its_key() -> None:
    with pytest.raises(InputError, match=r"'optim.num_steps': 'ten' is not a whole number"):
        read_form("stage1", {"model": "m", "optim.num_steps": "ten"})
    with pytest.raises(InputError, match="horizon"):
        read_form("stage1", {"model": "m", "forecast.horizon": "33"})


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean optim.num_steps"):
        read_form("stage1", {"model": "m", "optim.num_step": "3"})
    with pytest.raises(InputError, match="does not exist"):
        read_form("stage1", {"model": "m", "__class__": "x"})


def test_a_group_cannot_be_replaced_by_text() -> None:
    with pytest.raises(InputError, match="optim"):
        read_form("stage1", {"model": "m", "optim": "x"})


def test_a_value_of_a_megabyte_is_refused() -> None:
    with pytest.raises(InputError, match="too many"):
        read_form("stage1", {"model": "m" * 5000})


def test_shell_characters_are_only_text() -> None:
    assert read_form("stage1", {"model": "$(rm -rf /); `x`"}).model == "$(rm -rf /); `x`"


def test_a_group_left_out_is_none_and_its_fields_do_not_count() -> None:
    config = read_form("stage1", {"model": "m", "forecast": None, "forecast.horizon": "3"})
    assert config.forecast is None


def test_hostile_values_stay_text_in_the_page() -> None:
    typed = {"model": '"><img src=x onerror=alert(1)>', "optim.num_steps": "</input><script>"}
    page = render_form("stage1", typed, typed)
    assert "<img" not in page and "<script" not in page and "&lt;script&gt;" in page


def test_the_form_shows_what_was_typed_even_when_it_is_wrong() -> None:
    page = render_form("stage1", {"optim.num_steps": "ten"}, flatten(Stage1Config(model="m")))
    assert 'data-preset="200"' in page and 'value="ten"' in page


def test_units_are_not_made_up() -> None:
    assert {f.unit for g in form_groups("sft") for f in g.fields if f.kind is str} == {""}
    assert show_value("") == "''" and "seed" in field_docs(OptimConfig)
