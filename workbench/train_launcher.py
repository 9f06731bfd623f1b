"""What is typed before a launch: the head of the form, and the drafts that the whole form makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from executors.errors import InputError
from training.config import STAGES
from training.config_reading import to_dict
from training.presets import FROM_STAGE_BEFORE, PRESETS, get_preset
from workbench.runs.configs import preset_values
from workbench.runs.desk import RunDesk
from workbench.runs.draft import Draft
from workbench.screen import safe_text
from workbench.train_form import flatten, flatten_values, read_form, render_form
from workbench.train_html import STAGE_WORDS

PIPELINE = "pipeline"
"""All stages of a preset, one after another, in place of a single stage."""
CHOICES = (*STAGES, PIPELINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchForm:
    """The whole form as it was typed; nothing in it is trusted.

    `values` are dotted keys to text or booleans; `after` is the run that must be finished first.
    """

    stage: str = "sft"
    preset: str = ""
    name: str = ""
    devices: tuple[str, ...] = ("cpu",)
    num_processes: str = "1"
    seed: str = "0"
    after: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_page(cls, data: Any) -> LaunchForm:
        """The form that a page sent; raises InputError when it is no form."""
        if not isinstance(data, Mapping):
            raise InputError("the form did not arrive whole: load the page again")
        texts = {name: data.get(name, getattr(cls(), name)) for name in
                 ("stage", "preset", "name", "num_processes", "seed", "after")}
        devices, values = data.get("devices", ["cpu"]), data.get("values", {})
        if not all(isinstance(text, str) and len(text) <= 400 for text in texts.values()):
            raise InputError("the form did not arrive whole: load the page again")
        if not isinstance(devices, list) or not all(isinstance(d, str) for d in devices):
            raise InputError("devices: give a list of device names")
        if not isinstance(values, Mapping):
            raise InputError("values: give the form's fields by their keys")
        return cls(**texts, devices=tuple(devices), values=values)

    @classmethod
    def of_draft(cls, draft: Draft) -> LaunchForm:
        """The form that shows a draft."""
        return cls(
            stage=draft.stage, preset=draft.preset, name=draft.name, devices=draft.devices,
            num_processes=str(draft.num_processes), after=draft.after, values=flatten(draft.config),
        )

    def drafts(self, desk: RunDesk) -> list[Draft]:
        """What launching would queue; one draft, or one for each stage of a pipeline.

        Raises:
            InputError: a value is not allowed, told with its key.
        """
        if self.preset:
            get_preset(self.preset)
        if self.stage == PIPELINE:
            seed = _whole(self.seed, "seed")
            return desk.pipeline_drafts(self.preset, seed, name=self.name, devices=self.devices)
        config = read_form(self.stage, self.values)
        return [
            desk.draft(
                self.stage, to_dict(config), name=self.name, devices=self.devices,
                num_processes=_whole(self.num_processes, "number of processes"), preset=self.preset, after=self.after,
            )
        ]

    def with_preset(self, desk: RunDesk) -> LaunchForm:
        """The form with the values of its preset, and a free name."""
        if self.stage not in CHOICES:
            raise InputError(f"stage {self.stage!r} is unknown: choose one of {', '.join(CHOICES)}")
        names = presets_of(self.stage)
        preset = self.preset if self.preset in names else names[0]
        values = {} if self.stage == PIPELINE else flatten_values(shown_preset(preset, self.stage))
        name = desk.new_name(preset if self.stage == PIPELINE else self.stage)
        return replace(self, preset=preset, values=values, name=name, after="")


def _whole(text: str, name: str) -> int:
    if not (text.strip().isascii() and text.strip().isdecimal() and len(text) < 12):
        raise InputError(f"{name} {text!r} is not allowed: give a whole number")
    return int(text)


def presets_of(stage: str) -> list[str]:
    """The presets that have this stage; for a pipeline those with all three."""
    wanted = STAGES if stage == PIPELINE else (stage,)
    return [name for name in PRESETS if all(getattr(get_preset(name), one, None) is not None for one in wanted)]


def shown_preset(preset: str, stage: str) -> dict[str, Any]:
    """A preset's nested values as the form shows them: a start checkpoint that is still to be chosen is empty."""
    values = preset_values(preset, stage)
    return {**values, "model": ""} if values.get("model") == FROM_STAGE_BEFORE else values


def render_launcher(
    form: LaunchForm, *, devices: Sequence[str], configs: Sequence[str], checkpoints: Sequence[str]
) -> str:
    """The form: what to launch, where, and every setting.

    Args:
        form: what is shown.
        devices: those of the machine.
        configs: names of saved configs.
        checkpoints: folders of finished runs, offered as start checkpoints.
    """
    stages = "".join(
        f'<label><input type="radio" name="stage" value="{stage}"{" checked" if stage == form.stage else ""}>'
        f"<span>{STAGE_WORDS[stage]}</span></label>"
        for stage in CHOICES
    )
    presets = _options([(name, name) for name in presets_of(form.stage)], form.preset)
    if not form.preset:
        presets = '<option value="" selected>(none)</option>' + presets
    saved = _options([("", "choose …"), *((name, name) for name in configs)], "")
    offered = "".join(f'<option value="{safe_text(path, 400)}"></option>' for path in checkpoints)
    if form.stage == PIPELINE:
        body = (
            '<p class="tr-soft">SFT, Stage 1 and Stage 2 of the preset as three runs, each from the one before. '
            "To change a setting, draft the stages one by one.</p>"
        )
        seed = _head_field("seed", "Seed", f'<input name="seed" inputmode="numeric" value="{safe_text(form.seed)}">')
    else:
        base = flatten_values(shown_preset(form.preset, form.stage)) if form.preset else form.values
        body, seed = render_form(form.stage, form.values, base), ""
    after = ""
    if form.after:
        after = f'<p class="tr-note">Starts when <bdi>{safe_text(form.after)}</bdi> is finished.</p>'
    saving = "" if form.stage == PIPELINE else (
        '<button type="button" class="tr-small" data-act="save-config">Save as …</button>'
    )
    name = f'<input name="name" spellcheck="false" autocomplete="off" value="{safe_text(form.name, 120)}">'
    processes = f'<input name="num_processes" inputmode="numeric" value="{safe_text(form.num_processes, 20)}">'
    return (
        f'<form class="tr-form" data-after="{safe_text(form.after, 400)}" onsubmit="return false">'
        f'<fieldset class="tr-stages"><legend class="tw-sr">What to train</legend>{stages}</fieldset>'
        f'<div class="tr-form-head">{_head_field("preset", "Preset", f"<select name=preset>{presets}</select>")}'
        f'{_head_field("config", "Saved settings", f"<select name=config>{saved}</select>", saving + _DELETE)}'
        f'{_head_field("name", "Run name", name)}{seed}{_head_field("devices", "Devices", _devices(form, devices))}'
        f'{"" if form.stage == PIPELINE else _head_field("num_processes", "Processes", processes)}</div>{after}'
        f'{"" if form.stage == PIPELINE else _FIND}{body}<datalist id="tr-checkpoints">{offered}</datalist></form>'
    )


_FIND = (
    '<div class="tr-search"><input type="search" name="find" placeholder="Find a setting" '
    'aria-label="Find a setting"></div>'
)
_DELETE = '<button type="button" class="tr-small" data-act="delete-config" hidden>Delete</button>'


def _head_field(name: str, label: str, control: str, more: str = "") -> str:
    return f'<div class="tr-head-field" data-name="{name}"><label><span>{label}</span>{control}</label>{more}</div>'


def _options(choices: Sequence[tuple[str, str]], chosen: str) -> str:
    return "".join(
        f'<option value="{safe_text(value, 200)}"{" selected" if value == chosen else ""}>{safe_text(words)}</option>'
        for value, words in choices
    )


def _devices(form: LaunchForm, devices: Sequence[str]) -> str:
    """A list for one device of many, or several GPUs."""
    known = list(dict.fromkeys([*devices, *form.devices]))
    chosen = set(form.devices)
    options = "".join(
        f'<option value="{safe_text(device)}"{" selected" if device in chosen else ""}>{safe_text(device)}</option>'
        for device in known
    )
    many = f" multiple size={min(6, len(known))}" if len(known) > 2 else ""
    return f"<select name=devices{many}>{options}</select>"
