"""The documentation's site: `make docs` writes it to build/docs from the pages and the docstrings."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "ParanasalSSL"
author = "The ParanasalSSL developers"
release = PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.napoleon", "autoapi.extension"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["extensions-index"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
# Links of the README point to files of the repository, which are no pages of the site.
suppress_warnings = [
    "myst.xref_missing",
    "myst.header",
    "docutils",  # docstrings are plain text, here and in the base classes of others
    "ref.python",  # the same word is a field of several classes
    "autoapi.python_import_resolution",
]

# The modules are read, not imported: the site needs none of the project's own requirements.
autoapi_dirs = [str(ROOT / "ParanasalSSLLib"), str(ROOT / "Training" / "paranasal_training")]
autoapi_options = ["members", "undoc-members", "show-module-summary"]
autoapi_root = "api"
autoapi_keep_files = False
autoapi_add_toctree_entry = False

napoleon_use_ivar = True  # an attribute is described by its class, not a second time

html_theme = "furo"
html_title = "ParanasalSSL"
