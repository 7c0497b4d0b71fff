#!/usr/bin/env python3
"""Lets the links of installed Markdown pages lead to where their targets are installed.

usage: installed_docs.py SHARE     (PREFIX/share)

The pages in SHARE/doc/casdm are those of docs/, CHANGELOG.md and SECURITY.md. A link to a file of the source tree that is
not installed becomes text.
"""

import os
import pathlib
import re
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
# Where a folder or file of the source tree is installed, below SHARE.
PLACES = {"docs": "doc/casdm", "CHANGELOG.md": "doc/casdm/CHANGELOG.md", "SECURITY.md": "doc/casdm/SECURITY.md",
          "LICENSE": "doc/casdm/LICENSE", "NOTICE": "doc/casdm/NOTICE", "configs": "casdm/configs",
          "examples": "casdm/examples", "tools": "casdm/tools"}


def installed(share, page, target):
    """Where `target`, a link of the source file `page`, is installed; None: nowhere."""
    path = pathlib.Path(os.path.normpath(page.parent / target))
    try:
        parts = path.relative_to(SOURCE).parts
    except ValueError:
        return None
    if not parts or parts[0] not in PLACES:
        return None
    place = share.joinpath(PLACES[parts[0]], *parts[1:])
    return place if place.exists() else None


def relinked(share, page, place):
    def link(match):
        words, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        there = installed(share, page, path)
        return words if there is None else f"[{words}]({os.path.relpath(there, place.parent)}{hash_sign}{anchor})"

    return LINK.sub(link, page.read_text(encoding="utf-8"))


def main(share):
    docs = share / "doc" / "casdm"
    for place in docs.rglob("*.md"):
        name = place.relative_to(docs)
        page = SOURCE / "docs" / name
        if not page.exists():
            page = SOURCE / name
        place.write_text(relinked(share, page, place), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]).resolve())
