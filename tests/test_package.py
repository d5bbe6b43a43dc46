"""The one package that is imported, ``synthspine``: from a checkout, and installed from the wheel."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.readers.spider import write_mha
from synthspine.train.model.pretrained import PRETRAINED
from synthspine.train.release import digest_file

ROOT = Path(__file__).parents[1]
PUBLIC_NAMES = """
from synthspine import SpineSynthGenerator, SyntheticDataset, SyntheticStream, preset
from synthspine import UNet, load_model, evaluate_model, segment_scan
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


@pytest.fixture
def a_scan(own_files):
    """A scan in that folder."""
    scan = np.arange(2 * 64 * 48, dtype=np.int16).reshape(2, 64, 48)
    write_mha(scan, (4.0, 2.0, 2.0), "LPS", own_files / "scan.mha")
    sitk.WriteImage(sitk.ReadImage(str(own_files / "scan.mha")), str(own_files / "scan.nii.gz"))


def predict(command, folder, environment):
    """Segment the scan of a folder."""
    words = [*command, "predict", "scan.nii.gz", "--device", "cpu", "--overwrite"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "wrote results/predictions/scan_seg.nii.gz and .csv, .json beside it" in done.stdout


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


def test_prediction_loads_neither_generator_nor_compiler_and_its_help_no_torch():
    heavy = ("kornia", "scipy.stats", "torch._dynamo", "webdataset")
    program = (
        "import pathlib, sys; from synthspine.eval.prediction.options import PredictOptions; "
        "early = [name for name in sys.modules if name in ('torch', 'scipy')]; "
        "from synthspine.eval.prediction.prediction import predict; "
        "next(predict(PredictOptions(images=(pathlib.Path('nothing.mha'),)))); "
        f"print(early + [name for name in sys.modules if name in {heavy}])"
    )
    result = run(program, ROOT)
    assert result.stdout.strip() == "[]", result.stderr


@pytest.mark.parametrize("options", ["shards.main", "shards.serve"])
def test_help_needs_no_torch(options):
    program = (
        f"import sys; from synthspine.{options} import main; sys.argv = ['command', '--help']\n"
        "try: main()\nexcept SystemExit: print([name for name in sys.modules if name in ('torch', 'scipy')])"
    )
    result = run(program, ROOT)
    assert result.stdout.strip().endswith("[]"), result.stderr


def test_the_package_itself_loads_nothing_that_takes_time_and_completes_its_names():
    program = (
        "import sys, synthspine; print(dir(synthspine) == synthspine.__all__, "
        "[name for name in sys.modules if name in ('torch', 'numpy', 'scipy', 'SimpleITK', 'tyro')])"
    )
    result = run(program, ROOT)
    assert result.stdout.strip() == "True []", result.stderr


def test_the_command_works_beside_the_users_own_files(own_files, a_scan):
    """``-m`` looks for modules in the user's folder first."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    predict([sys.executable, "-m", "synthspine"], own_files, environment)


def test_an_unknown_public_name_is_an_attribute_error():
    import synthspine

    with pytest.raises(AttributeError, match="nothing"):
        _ = synthspine.nothing
    with pytest.raises(ImportError, match="nothing"):
        from synthspine import nothing  # noqa: F401


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_works_beside_the_users_own_files(
    own_files, a_scan, tmp_path_factory
):
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
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = str(python.with_name("synthspine"))
    for words in ([command], [str(python), "-m", "synthspine"]):
        predict(words, own_files, environment)
        shown = subprocess.run(
            [*words, "--version"], cwd=own_files, env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert f"weights {PRETRAINED.name} {digest_file(PRETRAINED).read_text()[:12]}" in shown
    for page in ("shards/service/page/request.js", "eval/viewer/page/viewer.html"):
        assert (site / "synthspine" / page).is_file()
    # By it, type checkers see the types of the package.
    assert (site / "synthspine" / "py.typed").is_file()
