"""Colours: palettes seen in training, and others kept for the layout_unseen split."""

from __future__ import annotations

from dataclasses import dataclass

Rgb = tuple[int, int, int]


def _rgb(text: str) -> Rgb:
    return int(text[0:2], 16), int(text[2:4], 16), int(text[4:6], 16)


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of one look; `on_accent` is text on the accent, `wallpaper` lies behind icons and windows."""

    name: str
    background: Rgb
    surface: Rgb
    text: Rgb
    muted: Rgb
    border: Rgb
    accent: Rgb
    on_accent: Rgb
    header: Rgb
    on_header: Rgb
    wallpaper: Rgb
    on_wallpaper: Rgb


def _theme(name: str, colours: str) -> Theme:
    return Theme(name, *(_rgb(c) for c in colours.split()))


# order:              background surface text muted border accent on_accent header on_header wallpaper on_wallpaper
TRAIN_THEMES = (
    _theme("blue", "f4f6fa ffffff 1b2330 5b6678 c9d1de 1d5fd1 ffffff 1d5fd1 ffffff dfe8f6 1b2330"),
    _theme("green", "f3f8f3 ffffff 19261b 566a59 c6d8c8 1c7c3c ffffff e2f0e4 19261b cfe6d3 19261b"),
    _theme("plum", "f8f4f9 ffffff 2a1a2e 6c5a70 dccbe0 8a2c9a ffffff 8a2c9a ffffff eadcf0 2a1a2e"),
    _theme("sand", "faf6ee fffdf8 2c2416 6e6350 ddd2bb b25a00 ffffff efe3cb 2c2416 f0e4cc 2c2416"),
    _theme("slate", "e9edf1 f8fafb 17212b 51606e b9c4cf 2f4a63 ffffff 2f4a63 ffffff 3d566e ffffff"),
    _theme("night", "15181e 22262f eef1f6 a6b0c0 3c4452 5b9bff 0b0e13 1c2029 eef1f6 0f1218 eef1f6"),
)
UNSEEN_THEMES = (
    _theme("rose", "fff4f5 ffffff 301a1e 74585d e6c9cd c2274b ffffff c2274b ffffff f6d5db 301a1e"),
    _theme("teal", "eef8f8 ffffff 10292a 4a6768 b9d6d6 0b7478 ffffff cfe8e8 10292a 0b5f63 ffffff"),
    _theme("coal", "1d1d1b 2b2b28 f5f3ec b5b1a4 4a4943 ffb03a 1d1d1b 2b2b28 ffb03a 33322e f5f3ec"),
    _theme("forest", "12211a 1c3127 e9f5ee a3bcae 365344 58d68d 0c1711 12211a 58d68d 0c1711 e9f5ee"),
)

ICON_COLOURS = tuple(
    _rgb(c) for c in "c0392b 1f618d 117a65 7d3c98 b9770e 2e4053 a04000 196f3d 884ea0 1a5276 922b21 5d6d1e".split()
)
