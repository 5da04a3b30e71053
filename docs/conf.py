# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx's configuration: pages in Markdown (MyST), the reference from Doxygen's XML (Breathe)."""
import os
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
VERSION = (HERE.parent / "include" / "heddle" / "version.hpp").read_text()

project = "heddle"
author = "the authors of heddle"
release = ".".join(re.findall(r"#define HEDDLE_VERSION_\w+ +(\d+)", VERSION))
extensions = ["myst_parser", "breathe"]
root_doc = "index"
exclude_patterns = ["_build", "Thumbs.db"]
html_theme = "alabaster"
html_title = f"heddle {release}"

myst_heading_anchors = 3  # the anchors that links of pages name, as GitHub makes them
# Links to files that are no pages (the change log, examples) are for readers of the repository; tests/pages checks
# that all are there. What lexers do not know (diff with C++ in it) is shown as it is.
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure"]

breathe_projects = {"heddle": os.environ.get("HEDDLE_DOXYGEN_XML", str(HERE.parent / "build" / "docs" / "xml"))}
breathe_default_project = "heddle"
breathe_default_members = ("members",)
# What stands before a declaration for compilers only.
cpp_id_attributes = ["HEDDLE_HD", "HEDDLE_INLINE", "HEDDLE_COLD", "HEDDLE_NOINLINE"]
