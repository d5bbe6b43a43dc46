"""The plan of the house: which package and room imports which, and under what name modules are reached."""

import ast
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "gen": ("core", "geometry", "tissues", "intensity", "scanner", "phantom"),
    "shards": (
        "storage",
        "volumes",
        "format",
        "readers",
        "reading",
        "building",
        "exporting",
        "checking",
        "service",
    ),
    "train": ("runtime", "model", "data"),
    "eval": ("labelling", "metrics", "segmentation", "prediction", "viewer", "results", "studies", "report"),
}
"""Packages, and the rooms of each, in their order: a module imports from its own and from earlier ones."""
MOST_MODULES = 14
MOST_LINES = 350
VAGUE = {"util", "utils", "helper", "helpers", "common", "misc"}


def modules_of(root, packages=PACKAGES):
    """Path of every module by its dotted name."""
    return {
        ".".join(("synthspine", *path.relative_to(root).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
    }


def imports_of(modules):
    """Names of the modules that each module imports, wherever in it the statement stands."""
    found = defaultdict(set)
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found[name].update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                below = {f"{node.module}.{alias.name}" for alias in node.names}
                found[name].update(below & modules.keys() or {node.module})
    return {name: {target for target in found[name] if target in modules} for name in modules}


def place_of(name, packages=PACKAGES):
    """Position of a module's package among the packages, and of its room among the rooms of the package."""
    _, package, *rest = name.split(".")
    rooms = packages[package]
    inside = rest and (len(rest) > 1 or rest[0] in rooms)
    return list(packages).index(package), rooms.index(rest[0]) if inside else len(rooms)


def upward(imports, packages=PACKAGES):
    """Imports from a package or a room that comes later."""
    wrong = []
    for name, targets in imports.items():
        package, room = place_of(name, packages)
        for target in targets:
            other_package, other_room = place_of(target, packages)
            if other_package > package or (other_package == package and other_room > room):
                wrong.append(f"{name} imports {target}")
    return sorted(wrong)


def circle(imports):
    """Modules that import each other in a circle, in order; empty if there is none."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        path.append(name)
        for target in sorted(imports[name]):
            if found := visit(target):
                return found
        path.pop()
        done.add(name)
        return []

    return next((found for name in imports if (found := visit(name))), [])


MODULES = modules_of(ROOT)
IMPORTS = imports_of(MODULES)


def test_packages_and_rooms_import_only_what_comes_before_them():
    assert upward(IMPORTS) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(IMPORTS) == []


def test_every_room_has_its_place_in_the_order():
    for package, rooms in PACKAGES.items():
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert folders == set(rooms)


def test_folders_and_modules_are_small_and_have_names_that_say_something():
    folders = defaultdict(list)
    for path in MODULES.values():
        folders[path.parent].append(path)
        assert path.stem not in VAGUE, path
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, path
    crowded = {folder: len(files) for folder, files in folders.items() if len(files) > MOST_MODULES}
    assert crowded == {}


def test_a_script_does_not_hide_a_module_of_the_standard_library_or_a_package():
    """A script's own folder comes first in ``sys.path``: its modules must not carry such a name."""
    taken = set(sys.stdlib_module_names) | set(PACKAGES) | {"synthspine", "tests", "benchmarks"}
    for package in PACKAGES:
        inside = {path.stem for path in (ROOT / package).glob("*.py")} | set(PACKAGES[package])
        assert inside & taken == set()


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        ({"gen/core/a.py": "from synthspine.gen.phantom import b", "gen/phantom/b.py": ""}, "upward"),
        ({"gen/a.py": "import synthspine.train.b", "train/b.py": ""}, "upward"),
        ({"gen/core/a.py": "from synthspine.gen import b", "gen/b.py": ""}, "upward"),
        (
            {
                "gen/core/a.py": "from synthspine.gen.core import b",
                "gen/core/b.py": "def f():\n    from synthspine.gen.core.a import x",
            },
            "circle",
        ),
        ({"gen/core/a.py": "", "gen/phantom/b.py": "from synthspine.gen.core.a import x"}, None),
    ],
)
def test_a_wrong_import_is_found(tmp_path, files, wrong):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    imports = imports_of(modules_of(tmp_path))
    assert bool(upward(imports)) == (wrong == "upward")
    assert bool(circle(imports)) == (wrong == "circle")
