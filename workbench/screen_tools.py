"""The controls over a screen: which layers are drawn, how many steps ahead, and text instead of the image.

They are plain HTML; the component's script acts on them in the browser and keeps the choice there.
"""

from __future__ import annotations

from collections.abc import Sequence

from workbench.screen_marks import Kind, Layer, Mark

_LAYERS = (
    (Layer.PAST, "Past", "Steps executed on earlier screens"),
    (Layer.NOW, "Executed", "The step that was executed on this screen"),
    (Layer.FORECAST, "Forecast", "What the planner expects to do"),
    (Layer.REFERENCE, "Reference", "What was recorded or is known to be right"),
    (Layer.EARLIER, "Earlier", "Forecasts of this step that were made on screens before"),
)


def num_forecast(marks: Sequence[Mark]) -> int:
    """T: the highest number among the forecast's steps; 0 without a forecast."""
    return max((m.number for m in marks if m.kind is Kind.FORECAST), default=0)


def render_tools(marks: Sequence[Mark]) -> str:
    """One switch for each layer with its number of steps, the horizon, and the text-only mode."""
    counts = {layer: sum(m.layer is layer for m in marks) for layer in Layer}
    switches = "".join(
        f'<label class="tw-switch tw-layer-{layer}{"" if counts[layer] else " tw-none"}" title="{meaning}">'
        f'<input type="checkbox" data-layer-switch="{layer}" checked><span class="tw-sample"></span>{word}'
        f'<span class="tw-count">{counts[layer]}</span></label>'
        for layer, word, meaning in _LAYERS
    )
    steps = num_forecast(marks)
    disabled = " disabled" if steps < 2 else ""
    return (
        f'<div class="tw-tools" role="group" aria-label="What is drawn"><div class="tw-tool-group">{switches}</div>'
        f'<div class="tw-tool-group">'
        f'<label class="tw-horizon" title="How many forecast steps are drawn"><span>Steps ahead</span>'
        f'<input type="range" data-horizon min="1" max="{max(steps, 1)}" value="{max(steps, 1)}"{disabled}>'
        f'<output>{steps}</output></label>'
        f'<label class="tw-switch" title="The steps as a list, without the image">'
        f'<input type="checkbox" data-text-only>Text only</label></div></div>'
    )
