"""How the pages of docs/ become a site: `make docs`."""

from __future__ import annotations

from pathlib import Path

import sonic_lib
from sonic_lib.cli.parser import VERBS, make_parser

project = "Sonic Signature"
author = "the Sonic Signature developers"
release = sonic_lib.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "report"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
napoleon_google_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
html_theme = "furo"
html_title = project
html_show_copyright = False


def write_commands() -> None:
    """Write the page of the command line as the parsers know it."""
    parts = [
        "# Command line",
        "Each but jars, doctor, completion and demo is also a job for spark-submit; see jobs/.",
        "Exit codes: 0 done, 1 failed (with --strict: or rejected something), 2 called wrongly, "
        "130 interrupted.",
    ]
    for verb, parser in make_parser(VERBS)[1].items():
        parts.append(f"## sonic {verb}\n\n```text\n{parser.format_help().rstrip()}\n```")
    page = Path(__file__).with_name("cli.md")
    page.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


write_commands()
