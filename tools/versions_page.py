#!/usr/bin/env python3
"""Prints the table of versions into docs/versions.md."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- printed by tch-init versions --markdown -->\n", "<!-- end of what was printed -->"

target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
printed = subprocess.run([target / "debug" / "tch-init", "versions", "--markdown"], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
_, _, after = rest.partition(END)
PAGE.write_text(before + BEGIN + printed + END + after, encoding="utf-8")
