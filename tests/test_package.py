"""The one package that is imported, ``synthspine``: from a checkout, and installed from the wheel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PUBLIC_NAMES = """
from synthspine import SpineSynthGenerator, SyntheticDataset, SyntheticStream, preset
from synthspine import UNet, load_model, evaluate_model
import synthspine
assert all(getattr(synthspine, name) for name in synthspine.__all__)
"""
EVERY_MODULE = """
import importlib, os, pkgutil, sys
import synthspine
for module in pkgutil.walk_packages(synthspine.__path__, "synthspine."):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name not in ("monai", "torchio"):  # of the extra interop
            raise
files = {}
for name, module in list(sys.modules.items()):
    path = getattr(module, "__file__", None)
    if path and name != "__main__":
        files.setdefault(os.path.realpath(path), set()).add(name.removeprefix("__mp_main__"))
ours = {path: names for path, names in files.items() if any(n.startswith("synthspine") for n in names)}
assert len(ours) > 100, len(ours)
assert all(len(names) == 1 for names in ours.values()), ours
print(len(ours))
"""


def run(program, folder, *arguments, python=sys.executable, **environment):
    return subprocess.run(
        [python, "-c", program, *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def own_files(tmp_path):
    """A folder in which a user has files of the packages' names; importing one of them raises."""
    for name in ("train", "eval", "gen", "shards"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('a file of the user was run')\n")
    return tmp_path


@pytest.mark.parametrize("environment", [{"PYTHONPATH": str(ROOT)}, {}], ids=["path", "installed"])
def test_public_names_are_found_beside_the_users_own_files(own_files, environment):
    """From a checkout on the path, and from the editable install of ``make setup``."""
    result = run(PUBLIC_NAMES, own_files, **environment)
    assert result.returncode == 0, result.stderr


def test_no_module_has_two_names():
    result = run(EVERY_MODULE, ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["gen", "shards", "train", "eval"])
def test_a_package_is_not_imported_under_its_short_name(name):
    result = run(f"import {name}", ROOT)
    assert f"ImportError: this package is imported as synthspine.{name}, not as {name}" in result.stderr


def test_the_generator_is_imported_without_training_and_evaluation():
    program = (
        "import sys, synthspine; synthspine.preset; "
        "late = ('synthspine.train', 'synthspine.eval', 'matplotlib', 'nibabel'); "
        "print([name for name in sys.modules if name.startswith(late)])"
    )
    result = run(program, ROOT)
    assert result.stdout.strip() == "[]", result.stderr


def test_an_unknown_public_name_is_an_attribute_error():
    import synthspine

    with pytest.raises(AttributeError, match="nothing"):
        _ = synthspine.nothing
    with pytest.raises(ImportError, match="nothing"):
        from synthspine import nothing  # noqa: F401


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_works_beside_the_users_own_files(own_files, tmp_path_factory):
    """Everything that is not SynthSpine comes from this environment; SynthSpine only from the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if not (ROOT / name).exists():
            continue
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            (source / name).symlink_to((ROOT / name).readlink())
        else:
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    subprocess.run([*pip[:1], "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
                    "--disable-pip-version-check", str(wheel)], check=True)  # fmt: skip
    # The dependencies of this environment, without its own entry for SynthSpine.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies) + "\n")
    installed = {path.name for path in site.iterdir()}
    assert not installed & {"gen", "shards", "train", "eval"}
    for program in (PUBLIC_NAMES, EVERY_MODULE):
        result = run(program, own_files, python=str(python))
        assert result.returncode == 0, result.stderr
    where = run("import synthspine; print(synthspine.__file__)", own_files, python=str(python)).stdout
    assert where.startswith(str(site))
    printed = subprocess.run(
        [python, "-m", "synthspine.gen", "t1", "--format", "yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "contrast:" in printed
