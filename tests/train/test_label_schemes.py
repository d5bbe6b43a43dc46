"""Training with label schemes of files: targets, losses, checkpoints, and what is refused."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from synthspine.gen import LabelScheme, label_scheme
from synthspine.gen.core.anatomy import IGNORE, PERHAPS_SACRUM, SACRUM, posterior_code, vertebra_code
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.readers.slices import Grid
from synthspine.train.config import TrainingError, TrainOptions
from synthspine.train.experiment import train_models
from synthspine.train.model.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from synthspine.train.model.pretrained import PRETRAINED
from synthspine.train.release import release
from synthspine.train.sources import Sources

SCHEMES = Path(__file__).parents[1] / "schemes"
FILES = {path.stem: str(path) for path in SCHEMES.glob("*.yaml")}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> ShardOptions:
    """Sets of label maps of the phantom, coarse."""
    folder = tmp_path_factory.mktemp("phantom")
    return ShardOptions(
        data_dir=folder / "data",
        shards_dir=str(folder / "shards"),
        phantom_labels=5,
        slice_step_mm=12.0,
        grid=Grid(spacing_mm=4.0, shape=(80, 64)),
        device="cpu",
    )


@pytest.fixture
def on_phantom(phantom: ShardOptions, tmp_path: Path) -> Callable[..., TrainOptions]:
    """Options of a short training of Model A on the phantom."""

    def make(**changes: object) -> TrainOptions:
        choices = {
            "save_dir": tmp_path / "saved",
            "model": "A",
            "epochs": 6,
            "lr": 0.01,
            "base_features": 4,
            "batch_size": 4,
            "validation_samples": 8,
            "precision": "fp32",
            "shards": phantom,
        }
        return TrainOptions(**(choices | changes))

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_scheme_of_a_file_is_trained(on_phantom, alone, name):
    options = on_phantom(scheme=FILES[name])
    train_models(options, alone)
    scheme = label_scheme(FILES[name])
    model = load_model(options.file("A", "best.pth"))
    assert model.scheme == scheme and model.num_classes == scheme.num_classes == options.num_classes
    assert json.loads(model.checkpoint.config)["scheme"] == scheme.to_dict()
    with options.file("A", "log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["loss"]) for row in rows]
    assert all(map(math.isfinite, losses)) and losses[-1] < 0.95 * losses[0]
    scores = {column: float(rows[-1][column]) for column in rows[-1] if column.startswith("dice_")}
    assert list(scores) == [f"dice_{structure}" for structure in scheme.structure_names]
    assert all(map(math.isfinite, scores.values()))
    assert list(options.save_dir.glob("model_a_synthetic_tensorboard/events*"))


@pytest.mark.slow
def test_painted_pixels_are_targets_of_the_sacrum_in_training_and_validation(on_phantom, alone):
    options = on_phantom(scheme="spine")
    sources = Sources.open(options, alone)
    _, codes = sources.feed_in_step("A").batch(0)
    validation = sources.validation("A")
    assert validation is not None
    for seen in (codes, validation.codes):
        assert (options.label_scheme.encode(seen) == 4).any()
        assert not (seen == PERHAPS_SACRUM).any()
    _, plain = Sources.open(on_phantom(num_classes=4), alone).feed_in_step("A").batch(0)
    assert not (plain == SACRUM).any()
    known = codes != SACRUM
    assert torch.equal(label_scheme(4).encode(codes)[known], label_scheme(4).encode(plain)[known])


@pytest.mark.slow
def test_arches_are_targets_of_their_own(on_phantom, alone):
    options = on_phantom(scheme=FILES["posterior"])
    _, codes = Sources.open(options, alone).feed_in_step("A").batch(0)
    counts = torch.bincount(options.label_scheme.encode(codes).flatten().int(), minlength=5)
    assert counts[2] > 0.1 * counts[1] > 0


def test_shards_do_not_know_the_painted_sacrum_and_say_so_once(options, alone, capsys):
    chosen = options(model="A", feed="shards", scheme=FILES["sacrum"], num_classes=None)
    sources = Sources.open(chosen, alone)
    _, codes = sources.feed_in_step("A").batch(0)
    told = capsys.readouterr().out
    assert told.count("warning: shards do not say where a sacrum is painted") == 1 and "--feed render" in told
    assert (codes == PERHAPS_SACRUM).any() and not (codes == SACRUM).any()
    targets = chosen.label_scheme.encode(codes)
    assert (targets == IGNORE).any() and not (targets == 4).any()


def test_real_images_are_refined_and_a_missing_sacrum_is_told(options, alone, capsys):
    chosen = options(model="B", scheme=FILES["sacrum"], num_classes=None)
    sources = Sources.open(chosen, alone)
    _, codes = sources.feed_in_step("B").batch(0)
    assert "no label map annotates a sacrum, so model B learns none" in capsys.readouterr().out
    validation = sources.validation("B")
    assert validation is not None
    for seen in (codes, validation.codes):
        assert (seen == PERHAPS_SACRUM).any()
        assert (seen == posterior_code(1)).any() or (seen == vertebra_code(1)).any()
    train_models(chosen, alone)
    assert load_model(chosen.file("B", "best.pth")).scheme.has_sacrum


def test_a_released_model_keeps_its_scheme(options, alone, tmp_path):
    chosen = options(scheme=FILES["posterior"], num_classes=None, model="A", epochs=1, tensorboard=False)
    train_models(chosen, alone)
    release(chosen.file("A", "best.pth"), tmp_path / "released.pth")
    packed = load_checkpoint(tmp_path / "released.pth")
    assert load_model(tmp_path / "released.pth").scheme == chosen.label_scheme
    assert json.loads(packed.config)["scheme"] == chosen.label_scheme.to_dict()
    assert FILES["posterior"] not in packed.config


def checkpoint(path: Path, **changes: object) -> Path:
    """A file of an older version: four classes, and no scheme in it."""
    base = load_checkpoint(PRETRAINED)
    kept = [base.label_scheme().class_names.index(name) for name in label_scheme(4).class_names]
    head = {name: base.state_dict[name][kept] for name in ("head.weight", "head.bias")}
    older = replace(
        base,
        scheme=None,
        state_dict=base.state_dict | head,
        architecture=base.architecture | {"num_classes": 4},
    )
    save_checkpoint(path, replace(older, **changes))
    return path


def test_a_model_without_a_scheme_in_its_file_can_be_tuned(options, alone, tmp_path):
    older = checkpoint(tmp_path / "older.pth")
    features = load_checkpoint(older).architecture["base_features"]
    chosen = options(
        model="A",
        num_classes=4,
        start_from=older,
        epochs=1,
        tensorboard=False,
        base_features=features,
        levels=5,
    )
    train_models(chosen, alone)
    assert load_model(chosen.file("A", "best.pth")).scheme == label_scheme(4)


def test_a_checkpoint_of_another_scheme_is_refused(options, alone, tmp_path):
    other = LabelScheme.from_dict(
        {
            "name": "other",
            "structures": {"vertebra": "1-25", "disc": "31-55", "sacrum": 61},
            "classes": {"background": 0, "vertebra": "1-25", "disc": "31-55", "sacrum": 61},
        }
    )
    path = checkpoint(tmp_path / "other.pth", scheme=other.to_dict())
    architecture = load_checkpoint(path).architecture
    chosen = options(num_classes=4, start_from=path, base_features=architecture["base_features"])
    with pytest.raises(TrainingError, match=r"other\.pth: .* label scheme other, not of structures"):
        train_models(chosen, alone)
    wrong = checkpoint(tmp_path / "wrong.pth", scheme=label_scheme(14).to_dict())
    with pytest.raises(CheckpointError, match=r"wrong\.pth: its label scheme ranks has 14 .* network 4"):
        train_models(options(num_classes=4, start_from=wrong), alone)


def test_classes_and_scheme_must_agree():
    assert TrainOptions(scheme=FILES["sacrum"]).num_classes == 5
    assert TrainOptions(scheme="ranks", num_classes=14) == TrainOptions(scheme="ranks")
    with pytest.raises(
        ValueError, match=r"--num-classes 14, but --scheme .*sacrum\.yaml has 5 classes; give one"
    ):
        TrainOptions(scheme=FILES["sacrum"], num_classes=14)
    with pytest.raises(ValueError, match="no label scheme is called 'sacrum'"):
        TrainOptions(scheme="sacrum")


def test_a_scheme_is_part_of_the_identity_of_a_run_unless_it_is_one_of_the_project(tmp_path):
    plain = TrainOptions().run_identity()
    assert "scheme" not in plain and plain["num_classes"] == 14
    assert TrainOptions(scheme="ranks").run_identity() == plain
    sacrum = TrainOptions(scheme=FILES["sacrum"]).run_identity()
    moved = tmp_path / "moved.yaml"
    moved.write_text(Path(FILES["sacrum"]).read_text())
    assert TrainOptions(scheme=str(moved)).run_identity() == sacrum
    lines = moved.read_text().splitlines()
    lines[-1] = "classes: {background: 0, disc: 31-55, vertebra: 1-25, canal: 60, sacrum: 61}"
    moved.write_text("\n".join(lines))
    assert TrainOptions(scheme=str(moved)).run_identity() != sacrum


@pytest.mark.slow
def test_the_command_trains_a_scheme_of_a_file_and_refuses_a_wrong_one(python, flags, tmp_path):
    place = flags.index("--num-classes")
    own = [*flags[:place], *flags[place + 2 :], "--model", "A", "--epochs", "1"]
    process = python("train/main.py", *own, "--scheme", FILES["sacrum"])
    output, errors = process.communicate(timeout=200)
    assert process.returncode == 0, output + errors
    assert load_model(tmp_path / "saved" / "model_a_synthetic_best.pth").scheme.name == "sacrum"
    (tmp_path / "wrong.yaml").write_text("name: wrong\nstructures: {disc: 31}\nclasses: {disc: 31}\n")
    process = python("train/main.py", *own, "--scheme", tmp_path / "wrong.yaml")
    _, errors = process.communicate(timeout=200)
    assert process.returncode != 0 and "Traceback" not in errors
    assert "the first class must be background" in " ".join(errors.replace("│", " ").split())
