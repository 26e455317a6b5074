"""The docs site: `make docs` builds it into site/, with warnings as errors.

The folder of sources is the repository, not docs/: so README.md, CONTRIBUTING.md and the reports of
the benchmarks are pages too, and a relative link leads to the same place here and on a code host.
"""

import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
# The package of this checkout, wherever another one is installed.
sys.path.insert(0, str(ROOT))

from rlprompt.core.version import __version__  # noqa: E402

project = "rlprompt"
author = "The rlprompt developers"
release = version = __version__
root_doc = "docs/index"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/**", "benchmarks/**.md"]
# Keeps whole folders from being searched.
exclude_patterns = [".*", "agents", "build", "dist", "envs", "rlprompt", "runs", "site", "tests"]
# A reference to something of this package that is not there is a warning, hence an error.
nitpicky = True
# Not so of other packages, whose lists of names would have to be fetched.
nitpick_ignore_regex = [
    ("py:.*", rf"{name}\b.*")
    for name in (
        *("collections", "dict", "enum", "pathlib", "socket", "tuple", "typing"),
        *("fastapi", "gymnasium", "matplotlib", "numpy", "pandas"),
        *("sb3_contrib", "stable_baselines3", "torch", "transformers"),
        # Written in quotes, for it is imported for type checkers only.
        *("BaseCallback", "PreTrained\\w+"),
        # A type variable.
        r"rlprompt\.core\.registry\.T",
    )
]
highlight_language = "none"
# Dashes in docstrings; quotes stay as they are.
smartquotes_action = "D"

# Links to a heading, as on a code host: page.md#the-heading.
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"rlprompt {__version__}"
# The root of the site leads to the front page.
html_extra_path = ["_root"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# Everything is on the page's own host: the theme has no web fonts, and no badge is loaded.


def _tidy(_app: Sphinx, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Readies a docstring, before it is read as one of Google's style."""
    for number, line in enumerate(lines):
        # What Gymnasium wants in an environment's docstring.
        if line.startswith("## "):
            lines[number : number + 1] = [f".. rubric:: {line[3:]}", ""]
    if what in ("attribute", "data", "property") and ": " in lines[0]:
        # What stands before a colon in the first line would be taken for a type.
        first, _, rest = lines[0].partition(": ")
        lines[:1] = [f"{first}:", rest]


def _mathml(translator: HTML5Translator, node: nodes.Element) -> None:
    """Writes a formula as the browser reads it, since MathJax would come from another host."""
    try:
        formula = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    except MathError as error:
        log.warning("%s in a formula", error, location=node)
    else:
        translator.body.append(formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Registers both."""
    app.connect("autodoc-process-docstring", _tidy, priority=100)
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
