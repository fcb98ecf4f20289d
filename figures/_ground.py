"""A drawn figure on dark ground: greys change places, colours stay or are lightened.

A colour keeps its hue, so that a method has one colour everywhere. It is mixed with white as far as
it needs for a contrast of 4.5 to the ground, which is what WCAG 2 asks of letters.
"""

from __future__ import annotations

from typing import Any

import matplotlib.colors
import numpy as np
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

GROUND = np.array([0.086, 0.094, 0.110])
INK = np.array([0.925, 0.925, 0.925])
GREY = 0.2  # a colour whose channels differ by less counts as a grey
CONTRAST = 4.5  # of letters and lines to the ground


def on_dark(color: Any) -> Any:
    """The colour (anything matplotlib takes) to be used on dark ground; its opacity is kept."""
    *channels, alpha = matplotlib.colors.to_rgba(color)
    rgb = np.array(channels)
    if np.ptp(rgb) < GREY:
        # Black becomes ink, white the ground; the power makes middle greys light enough to read.
        return (*(INK + rgb**1.5 * (GROUND - INK)), alpha)
    while _luminance(rgb) + 0.05 < CONTRAST * (_luminance(GROUND) + 0.05):
        rgb = rgb + 0.05 * (1.0 - rgb)
    return (*rgb, alpha)


def _luminance(rgb: np.ndarray) -> float:
    """Relative luminance of sRGB channels in [0, 1] (WCAG 2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def darken(figure: Figure) -> None:
    """Recolour everything in the figure, in place. It has been drawn: its ticks are there."""
    artists = set(figure.findobj()) - _on_images(figure)
    for text in [artist for artist in artists if isinstance(artist, Text)]:
        artists |= {text.get_bbox_patch(), getattr(text, "arrow_patch", None)} - {None}
    for artist in artists:
        _recolour(artist)


def _on_images(figure: Figure) -> set[Text]:
    """Numbers written on an image, whose colours stay as they are."""
    return {
        text
        for ax in figure.axes
        if ax.images
        for text in ax.texts
        if ax.bbox.contains(*text.get_window_extent().min)
    }


def _recolour(artist: Any) -> None:
    match artist:
        case Text():
            artist.set_color(on_dark(artist.get_color()))
        case Line2D():
            markers = artist.get_markerfacecolor(), artist.get_markeredgecolor()
            artist.set_color(on_dark(artist.get_color()))
            artist.set_markerfacecolor(on_dark(markers[0]))
            artist.set_markeredgecolor(on_dark(markers[1]))
        case Patch():
            face, edge = artist.get_facecolor(), artist.get_edgecolor()
            artist.set_facecolor(on_dark(face) if face[-1] else "none")  # "none" outlasts an alpha
            artist.set_edgecolor(on_dark(edge) if edge[-1] else "none")
        case Collection():
            edges = [on_dark(color) for color in artist.get_edgecolor()]
            if artist.get_array() is None:
                artist.set_facecolor([on_dark(color) for color in artist.get_facecolor()])
            artist.set_edgecolor(edges)
