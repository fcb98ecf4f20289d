"""Sphinx: `make docs` builds the site in build/docs, without the network; warnings are errors."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import matplotlib as mpl

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
sys.path[:0] = [str(HERE / "_ext"), str(REPOSITORY)]
mpl.use("agg")

import bdtheory  # noqa: E402

project = "bdtheory"
author = "bdtheory maintainers"
copyright = "bdtheory maintainers; Apache-2.0"
version = release = bdtheory.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "claims",
    "api",
    "pictures",
    "report",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_ext", "explorer", "gallery_header.rst"]
nitpicky = True
# Types of other libraries: their documentation is not at hand offline.
nitpick_ignore_regex = [
    ("py:.*", r"(np|numpy|torch|matplotlib|hypothesis|collections|os|pathlib|typing)\..*"),
    ("py:.*", r"(Any|Array|Callable|Path|PathLike|NDArray|SearchStrategy|optional)"),
]

# MyST: (name)= targets, $...$ formulae, glossaries as definition lists.
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
html_math_renderer = "mathml"

# `name` in a docstring is a reference where the name is documented, and code elsewhere.
default_role = "obj"
autodoc_typehints = "none"  # shapes and units stand in the docstrings
autosummary_generate = False


def examples() -> str:
    """A folder with the numbered examples and a header, which is what sphinx-gallery looks for."""
    folder = REPOSITORY / "build" / "docs-examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (REPOSITORY / "examples").glob("[0-9][0-9]_*.py"):
        shutil.copy2(path, folder)
    shutil.copy2(HERE / "gallery_header.rst", folder / "GALLERY_HEADER.rst")
    for page in (HERE / "gallery").glob("[0-9][0-9]_*.*"):  # of an example that is gone
        if not (folder / f"{page.name.partition('.')[0]}.py").is_file():
            page.unlink()
    return str(folder)


sphinx_gallery_conf = {
    "examples_dirs": examples(),
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_.*\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": False,  # the others are still made; the build fails all the same
    "only_warn_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "reference_url": {"bdtheory": None},
    "capture_repr": ("_repr_html_",),  # what an example says it prints, and no more
}

html_theme = "furo"
html_title = "bdtheory"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["explorer.html"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
