"""Measures the code of a checkout: lines, files, public items, cycles, duplicates, and matches on the kinds of draws.

    python3 tools/house.py [CHECKOUT]

It reads the Rust files below src and crates/*/src and builds nothing, so that any commit can be measured. Paths of `use`
and paths in expressions are resolved through re-exports to the file that defines the item; a cycle is a strongly
connected set of files, or of rooms (crates, and the modules directly below src).
"""

import collections
import re
import sys
from pathlib import Path

DRAWS = "Uniform|Normal|NormalSerial|TruncNormal|TruncatedNormal|Orthogonal|Sparse|Randperm"
ITEM = re.compile(r"^(?:pub(?:\([^)]*\))? )?(?:const )?(?:unsafe )?(?:extern \"C\" )?"
                  r"(?:fn|struct|enum|union|trait|type|const|static|macro_rules!) (\w+)", re.M)
PUBLIC = re.compile(r"^\s*pub (?:const |unsafe |async )*(?:fn|struct|enum|union|trait|type|const|static|mod|use) ", re.M)


def without_comments(text):
    text = re.sub(r'r#"(?:.|\n)*?"#|"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//[^\n]*", "", text)


def without_tests(text):
    """The text up to the unit tests, which stand last in a file."""
    return re.split(r"(?m)^#\[cfg\(test\)\]\nmod \w+ \{", text)[0]


def use_paths(tree, prefix=()):
    """(path, name) of everything that a `use` tree imports."""
    tree = tree.strip()
    group = re.match(r"(?s)(.*?)\{(.*)\}$", tree)
    if group:
        head = [part for part in group[1].split("::") if part.strip()]
        depth, start, inner = 0, 0, group[2] + ","
        for i, c in enumerate(inner):
            depth += (c == "{") - (c == "}")
            if c == "," and depth == 0:
                if inner[start:i].strip():
                    yield from use_paths(inner[start:i], prefix + tuple(head))
                start = i + 1
        return
    tree, _, alias = tree.partition(" as ")
    path = prefix + tuple(part.strip() for part in tree.split("::"))
    if path[-1] == "self":
        path = path[:-1]
    yield path, alias.strip() or path[-1]


class Crate:
    def __init__(self, name, root):
        self.name, self.root = name, root
        self.files, self.text, self.items, self.uses = {}, {}, {}, {}
        for file in sorted(root.rglob("*.rs")):
            parts = list(file.relative_to(root).with_suffix("").parts)
            if parts[-1] in ("mod", "lib", "main"):
                parts.pop()
            module = (name, *parts)
            if module in self.files:  # main.rs beside lib.rs
                module = (name, *parts, "main")
            text = without_comments(without_tests(file.read_text(encoding="utf-8")))
            self.files[module], self.text[module] = file, text
            self.items[module] = set(ITEM.findall(text))
            self.uses[module] = [use for tree in re.findall(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use ((?:.|\n)*?);", text)
                                 for use in use_paths(tree)]


class House:
    def __init__(self, checkout):
        roots = [("tch_init", checkout / "src")]
        roots += [(root.parent.name.replace("-", "_"), root) for root in sorted(checkout.glob("crates/*/src"))]
        self.crates = {name: Crate(name, root) for name, root in roots}
        self.modules = {module: crate for crate in self.crates.values() for module in crate.files}

    def absolute(self, path, module):
        crate = module[:1]
        if path[0] == "crate":
            return crate + path[1:]
        if path[0] == "self":
            return module + path[1:]
        if path[0] == "super":
            up = 0
            while up < len(path) and path[up] == "super":
                up += 1
            return module[:len(module) - up] + path[up:]
        if path[0] in self.crates:
            return path
        if module + path[:1] in self.modules:
            return module + path
        return None

    def resolve(self, path, seen=frozenset()):
        """The module that defines what an absolute path names."""
        module = path[:1]
        if module not in self.modules or path in seen:
            return None
        for i in range(1, len(path)):
            if module + (path[i],) in self.modules:
                module += (path[i],)
                continue
            crate, name = self.modules[module], path[i]
            if name in crate.items[module]:
                return module
            for target, alias in crate.uses[module]:
                if alias in (name, "*"):
                    target = self.absolute(target, module)
                    if target is None:
                        continue
                    target = target[:-1] + (name,) if alias == "*" else target
                    found = self.resolve(target + path[i + 1:], seen | {path})
                    if found and found != module:
                        return found
            return module
        return module

    def edges(self):
        found = collections.defaultdict(set)
        for module, crate in self.modules.items():
            paths = [path for path, _ in crate.uses[module]]
            body = re.sub(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?use (?:.|\n)*?;", "", crate.text[module])
            paths += [tuple(text.split("::")) for text in re.findall(r"\b(?:crate|super)(?:::\w+)+", body)]
            children = "|".join(other[-1] for other in self.modules if other[:-1] == module)
            if children:
                paths += [tuple(text.split("::")) for text in
                          re.findall(rf"(?<![\w:])(?:{children})(?:::\w+)+", body)]
            reexports = {path for tree in re.findall(r"(?m)^pub(?:\([^)]*\))? use ((?:.|\n)*?);", crate.text[module])
                         for path, _ in use_paths(tree)}
            for path in paths:
                path_ = self.absolute(path, module)
                target = path_ and self.resolve(path_)
                # A module that only re-exports its child does not use it.
                if target and target != module and path not in reexports:
                    found[module].add(target)
        return found


def cycles(edges):
    """Strongly connected sets of more than one node (Tarjan)."""
    order, low, stack, result = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                result.append(sorted(part))

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in order:
            visit(node)
    return result


def room(module):
    return "::".join(module[:2] if module[0] == "tch_init" else module[:1])


def duplicates(texts):
    """Repeated pairs of neighboring lines of code."""
    pairs = collections.Counter()
    for text in texts:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        pairs.update((a, b) for a, b in zip(lines, lines[1:])
                     if len(a) > 15 and len(b) > 15 and not a.startswith(("use ", "#[")) and not b.startswith("use "))
    return sum(count - 1 for count in pairs.values())


def main():
    checkout = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    house = House(checkout)
    raw = {module: crate.files[module].read_text(encoding="utf-8") for module, crate in house.modules.items()}
    texts = [crate.text[module] for module, crate in house.modules.items()]
    code = sum(bool(line.strip()) for text in texts for line in text.splitlines())
    edges = house.edges()
    rooms = collections.defaultdict(set)
    for module, targets in edges.items():
        rooms[room(module)] |= {room(target) for target in targets} - {room(module), "tch_init"}
    arm = re.compile(rf"(?:^|[\s(|:&])(?:\w+::)?(?:{DRAWS})\b[^;={{}}]*(?:\{{[^{{}};]*\}})?[^;=]*=>", re.M)
    matching = {module: len(arm.findall(house.modules[module].text[module])) for module in house.modules}
    name_arm = re.compile(r'"(?:uniform_|normal_|trunc_normal_|orthogonal_|sparse_|randperm)"[^;=\n]*=>')
    by_name = sum(len(name_arm.findall(without_tests(text))) for text in raw.values())
    file_cycles, room_cycles = cycles(edges), cycles(rooms)
    cpp = [path for path in checkout.glob("cpp/*") if path.is_file()]
    print(f"lines of src and crates/*/src          {sum(len(text.splitlines()) for text in raw.values())}")
    print(f"lines of code (no comments, no tests)  {code}")
    print(f"lines of C++                           {sum(len(p.read_text().splitlines()) for p in cpp)}")
    print(f"files                                  {len(raw)}")
    print(f"lines with `pub` items                 {sum(len(PUBLIC.findall(text)) for text in texts)}")
    print(f"repeated pairs of lines                {duplicates(texts)}")
    print(f"match arms on kinds of draws           {sum(matching.values())} in {sum(map(bool, matching.values()))} files")
    print(f"match arms on names of draws           {by_name}")
    print(f"cycles between rooms                   {len(room_cycles)}")
    for cycle in room_cycles:
        print(f"    {', '.join(cycle)}")
    print(f"cycles between files                   {len(file_cycles)}, of {sum(map(len, file_cycles))} files")
    for cycle in file_cycles:
        names = ["::".join(module) for module in cycle]
        print(f"    {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}")


if __name__ == "__main__":
    main()
