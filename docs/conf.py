"""The site (make docs): pages in Markdown, the reference made of the docstrings; nothing is loaded from elsewhere."""

project = "Tubelet"
author = "The Tubelet authors"
copyright = "2026, The Tubelet authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.apidoc", "sphinx_copybutton"]
nitpicky = False
# Names such as "label" are fields of several classes; Napoleon makes links of them.
suppress_warnings = ["ref.python"]

myst_heading_anchors = 3
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
apidoc_modules = [
    {
        "path": "../src/tubelet",
        "destination": "reference",
        "separate_modules": True,
        "module_first": True,
        "max_depth": 1,
        "exclude_patterns": ["**/assets/**"],
    }
]

html_theme = "furo"
html_title = "Tubelet"
html_show_sphinx = False
