"""Lists the public API of each library crate, from its documentation, in docs/api/CRATE.txt.

    python3 tools/public_api.py           write the listings
    python3 tools/public_api.py --check   fail if a listing is out of date

Each line is a path, a colon, and a declaration. Trait implementations are listed by their headers; derived, automatic and
blanket implementations of std's traits are left out, since a type's own docs show them.
"""

import argparse
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTINGS = ROOT / "docs" / "api"
# What every type implements, or derives.
COMMON = re.compile(r"^impl(?:<.*?>)? (?:Clone|Copy|Debug|Eq|Hash|Ord|PartialEq(?:<.*>)?|PartialOrd(?:<.*>)?|StructuralPartialEq|"
                    r"Freeze|Send|Sync|Unpin|UnsafeUnpin|RefUnwindSafe|UnwindSafe) for ")


def text(fragment):
    """HTML as one line of text."""
    fragment = re.sub(r'<a class="src[^>]*>.*?</a>|<details class="toggle.*?<summary.*?</summary>|</details>', "", fragment, flags=re.S)
    fragment = re.sub(r"<br\s*/?>|\n", " ", fragment)
    plain = html.unescape(re.sub(r"<[^>]*>", "", fragment)).replace("\xa0", " ").replace("\u200b", "")
    plain = re.sub(r"//.*?(?= {4}|$)|/\* .*? \*/", "", plain)
    plain = re.sub(r"\s+", " ", re.sub(r"(#\[[^\]]*\])", r"\1 ", plain)).strip()
    return re.sub(r",? ([)}])", r" \1", re.sub(r"([({]) ", r"\1 ", plain)).strip()


def declarations(page, path):
    """The lines of one item."""
    body = re.split(r'id="(?:synthetic-implementations|blanket-implementations|implementors|foreign-impls)"', page)[0]
    declaration = re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', body, re.S)
    if declaration:
        yield f"{path}: {text(declaration[1])}"
    own, _, traits = body.partition('id="trait-implementations"')
    for header in re.findall(r'<h4 class="code-header">(.*?)</h4>', own, re.S):
        signature = text(header)
        name = re.search(r"(?:fn|const|type) (\w+)", signature)
        yield f"{path}::{name[1] if name else '?'}: {signature}"
    for header in re.findall(r'<h3 class="code-header">(.*?)</h3>', traits, re.S):
        signature = text(header)
        if not COMMON.match(signature):
            yield f"{path}: {signature}"


def listing(folder, crate):
    lines = set()
    index = (folder / "all.html").read_text(encoding="utf-8")
    for link in re.findall(r'<a href="([^"]+\.html)">', index.partition('class="all-items"')[2]):
        *modules, file = link.split("/")
        name = file.split(".")[1]
        path = "::".join([crate, *modules, name])
        lines.update(declarations((folder / link).read_text(encoding="utf-8"), path))
    return "".join(f"{line}\n" for line in sorted(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the listings instead of writing them")
    check = parser.parse_args().check
    cargo = os.environ.get("CARGO", "cargo")
    subprocess.run([cargo, "doc", "--workspace", "--lib", "--no-deps", "--quiet"], cwd=ROOT, check=True)
    metadata = subprocess.run([cargo, "metadata", "--no-deps", "--format-version", "1"], cwd=ROOT, check=True, capture_output=True)
    metadata = json.loads(metadata.stdout)
    LISTINGS.mkdir(exist_ok=True)
    stale, written = [], set()
    for package in metadata["packages"]:
        crate = next(target["name"] for target in package["targets"] if "lib" in target["kind"]).replace("-", "_")
        found = listing(Path(metadata["target_directory"]) / "doc" / crate, crate)
        file = LISTINGS / f"{crate}.txt"
        written.add(file)
        if not file.exists() or file.read_text(encoding="utf-8") != found:
            stale.append(file.name)
        if not check:
            file.write_text(found, encoding="utf-8")
        print(f"{crate}: {found.count(chr(10))} lines")
    for file in set(LISTINGS.glob("*.txt")) - written:
        stale.append(file.name)
        if not check:
            file.unlink()
    if check and stale:
        sys.exit(f"public_api: {', '.join(sorted(stale))} out of date in docs/api: run `make api`, and read what changed")


if __name__ == "__main__":
    main()
