"""How Sphinx makes a book of the notebooks as they are stored; nothing is run. See tools/build_site.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for slugs

project = "Pretrained weights workbook"
author = "The authors of the pretrained weights workbook"
copyright = "2026, " + author
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the proof"
nb_code_prompt_hide = "Hide the proof"
nb_ipywidgets_js = {}  # interactives are stored as pictures; their script would come from elsewhere
myst_heading_anchors = 3
myst_heading_slug_func = "slugs.as_jupyter"  # so that links between notebooks hold in JupyterLab, too
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
add_module_names = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
copybutton_prompt_text = r">>> |\$ "
copybutton_prompt_is_regexp = True
