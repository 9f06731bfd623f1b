"""Text on its way into HTML: escaped, cut, and without characters that could mislead; images as data URIs."""

from __future__ import annotations

import base64
import html
import io
import unicodedata

from PIL.Image import Image

MAX_TEXT = 600
"""Longest text of one row in characters; a model's runaway line must not fill the page."""


def safe_text(text: object, limit: int = MAX_TEXT) -> str:
    """Text ready for HTML: escaped, cut at `limit`, without control or direction-changing characters.

    >>> safe_text('<img src=x onerror=alert(1)>')
    '&lt;img src=x onerror=alert(1)&gt;'
    """
    raw = str(text)
    if len(raw) > limit:
        raw = raw[: limit - 1] + "…"
    if not raw.isprintable():  # most texts are, and hold none of these
        # Cc: controls, Cf: bidi overrides and other invisible formatting, Cs: lone surrogates, which JSON cannot carry
        raw = "".join(
            c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "\ufffd" for c in raw
        )
    return html.escape(raw, quote=True)


def png_data_uri(image: Image) -> str:
    """The image as a lossless PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
