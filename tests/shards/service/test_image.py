"""The files of the container image: enough to run the service, with options that exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

pytest.importorskip("fastapi", reason="the service needs the extra serve")

from synthspine.shards.service.options import ServeOptions
from synthspine.train.model.pretrained import PRETRAINED
from synthspine.train.release import digest_file

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied():
    """Source and target of everything that the image receives."""
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            yield source, Path(source if target == "./" else target)


def test_the_files_of_the_image_hold_the_model_and_run_the_service(tmp_path):
    for source, target in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / target, symlinks=True)
        else:
            shutil.copy(ROOT / source, tmp_path / target)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    program = "import synthspine.train.main, synthspine.eval.main; print(synthspine.__file__)"
    weights = digest_file(PRETRAINED).read_text()[:12]
    for command, expected in (
        (["-c", program], str(tmp_path)),
        (["-m", "synthspine", "--version"], f"weights {PRETRAINED.name} {weights}"),
        (["-m", "synthspine", "serve", "--help"], "--cache-dir"),
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_docker_may_read_every_file_of_the_image():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"}
    assert {source for source, _ in copied()} == allowed


def test_the_options_of_the_image_exist():
    command, *arguments = json.loads(re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])
    assert command == "serve" and 'ENTRYPOINT ["synthspine"]' in DOCKERFILE
    options = tyro.cli(ServeOptions, args=arguments)
    assert options.host == "0.0.0.0" and options.cache_folder == Path("/data/rendered")


def test_the_old_names_of_the_cache_options_still_work(tmp_path):
    options = tyro.cli(ServeOptions, args=["--spool-dir", str(tmp_path), "--spool-gb", "3"])
    assert (options.cache_folder, options.cache_gb) == (tmp_path, 3.0)
