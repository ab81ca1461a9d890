"""How Sphinx builds the site. Nothing is fetched: fonts, scripts and MathJax come with installed packages."""

import os
import sys
from pathlib import Path

import tgmm
from tgmm.cli.arguments import parser

sys.path.insert(0, str(Path(__file__).parent))

import benchmark_tables
import picture_style
import reference_tables

project = "tgmm"
author = "The tgmm developers"
copyright = author
version = release = tgmm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "numpydoc",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["tests", "tutorials/**.py", "tutorials/**.ipynb"]
default_role = "code"
add_module_names = False
toc_object_entries_show_parents = "hide"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

# ------------------------------------------------------------------------------------------------------ reference

autodoc_typehints = "none"  # the docstrings say it, in words
autodoc_member_order = "bysource"
autosummary_generate = False  # the pages are written by hand, and their tables are made of them
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# ------------------------------------------------------------------------------------------- pictures and tutorials

plot_include_source = False
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 144)]
plot_rcparams = picture_style.STYLE
plot_apply_rcparams = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples/tutorials",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "gallery_order.ByNumber",
    "image_scrapers": ("matplotlib",),
    "image_srcset": ["2x"],
    "reset_modules": ("matplotlib", "picture_style.reset"),
    "default_thumb_file": str(Path(__file__).parent / "_static" / "tgmm.svg"),
    "ignore_repr_types": r"matplotlib|<class 'list'>",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 1e6,
    "remove_config_comments": True,
    "copyfile_regex": "",
    "plot_gallery": True,
}

# ----------------------------------------------------------------------------------------------------------- pages

html_theme = "pydata_sphinx_theme"
html_title = "tgmm"
html_logo = html_favicon = "_static/tgmm.svg"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["tgmm.css"]
html_js_files = ["tgmm.js"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "tgmm"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_toc_level": 2,
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "back_to_top_button": False,
}
html_sidebars = {"index": [], "quickstart": [], "changelog": [], "performance": [], "scaling": [], "architecture": []}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# ------------------------------------------------------------ the help of the command line, and tables of benchmarks


def write_help(folder: Path) -> None:
    """Write what `tgmm COMMAND --help` prints to a file for each command."""
    os.environ["COLUMNS"] = "96"
    folder.mkdir(parents=True, exist_ok=True)
    commands = next(action for action in parser()._actions if action.choices)
    for name, command in commands.choices.items():
        (folder / f"{name}.txt").write_text(command.format_help())


write_help(Path(__file__).parents[1] / "build" / "help")
benchmark_tables.write(Path(__file__).parents[1] / "build" / "benchmarks")


def setup(app):
    """Make the tables of the reference."""
    app.connect("source-read", reference_tables.insert)
