"""Sphinx: MyST pages, Furo. `scripts/docs` builds them with every warning an error."""

from qlikmigrate import __version__

project = "qlikmigrate"
author = "The qlikmigrate authors"
copyright = "The qlikmigrate authors"  # noqa: A001 - Sphinx's name
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
# `page.md#heading` works as on the forge.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"qlikmigrate {__version__}"
