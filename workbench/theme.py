"""The look: a Gradio theme with the fonts of the machine, and the stylesheets and scripts of assets/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).resolve().parent.parent / "assets"

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace")


def make_theme() -> gr.themes.Base:
    """The theme; it names no web font, so the page loads nothing from elsewhere."""
    return gr.themes.Default(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_md,
        spacing_size=gr.themes.sizes.spacing_md,
        font=SYSTEM_FONTS,
        font_mono=MONO_FONTS,
    ).set(
        body_background_fill="#f4f6f9",
        body_background_fill_dark="#0d1117",
        block_background_fill_dark="#161b22",
        block_border_color_dark="#30363d",
        block_info_text_color="#55606e",
        block_info_text_color_dark="#9aa7b4",
        input_placeholder_color="#55606e",
        input_placeholder_color_dark="#9aa7b4",
        block_shadow="none",
        block_shadow_dark="none",
        button_primary_background_fill="#0b5cad",
        button_primary_background_fill_hover="#094a8c",
        button_primary_background_fill_dark="#1f6feb",
        button_primary_background_fill_hover_dark="#1a5ecc",
        button_primary_text_color="#ffffff",
    )


@cache
def read_css() -> str:
    """All stylesheets of assets/css, in the order of their names."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ASSETS / "css").glob("*.css")))


@cache
def read_script(name: str) -> str:
    """One script of assets/js."""
    return (ASSETS / "js" / name).read_text(encoding="utf-8")
