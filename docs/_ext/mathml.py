"""Mathematics as MathML, which browsers draw themselves: no script and no outside request.

docutils turns LaTeX into MathML; Sphinx has no renderer for it of its own. The font is STIX Two
Math (SIL Open Font License), as the package ziamath brings it: without a font that is made for
formulae browsers put gaps into them, and few systems have one.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import ExtensionError

# An accented letter with an index: docutils puts the index below the letter, as if it were a limit.
ACCENTED = re.compile(
    r"<munderover>\s*(<mi.*?</mi>)\s*(<m.*?>)\s*"
    r"(<mo stretchy=\"false\">[~ˆ¯˙]</mo>)\s*</munderover>"
)

# A function's name and a bare argument, log N: browsers put no space there.
APPLIED = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<mo[^>]*>[(\[|])")

# The bars of a norm: docutils does not fix their size, as it does for |, so that browsers stretch
# the left one to the whole line and set the right one low.
BAR = "<mo>‖</mo>"


def mathml(node: nodes.Element, *, as_block: bool) -> str:
    """The node's LaTeX as a `<math>` element; an error that names it where docutils cannot."""
    tex = node.astext()
    try:
        found = tex2mathml(tex, as_block=as_block)
    except (MathError, SyntaxError, KeyError) as error:
        raise ExtensionError(
            f"got the formula {tex!r} ({error}); needed LaTeX that docutils turns into MathML; "
            "try a simpler command"
        ) from error
    found = ACCENTED.sub(r'<msub><mover accent="true">\1\3</mover>\2</msub>', found)
    found = found.replace(BAR, BAR.replace("<mo>", '<mo stretchy="false">'))
    return APPLIED.sub('<mspace width="0.167em"></mspace>', found)


def inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def copy_font(app: Any, error: Exception | None) -> None:
    """Sphinx's event "build-finished": the font, where site.css looks for it."""
    if not error:
        font = files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
        (Path(app.outdir) / "_static" / font.name).write_bytes(font.read_bytes())


def setup(app: Any) -> dict[str, bool]:
    app.connect("build-finished", copy_font)
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
