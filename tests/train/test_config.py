import json

import pytest
import tyro

from synthspine.shards import ShardOptions
from synthspine.train.config import TrainOptions
from synthspine.train.losses import LOSSES


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"lr": 0.0},
        {"lr": float("inf")},
        {"num_classes": 6},
        {"weight_decay": -1},
        {"accumulate": 0},
        {"accumulate": 5},
        {"ema_decay": 1.0},
        {"snapshot_minutes": 0.0},
        {"structure_loss": -0.5},
        {"structure_loss": float("inf")},
        {"loss": "hinge"},
    ],
)
def test_impossible_choices_are_refused(wrong):
    with pytest.raises(ValueError, match=str(*wrong.values())):
        TrainOptions(**wrong)


def test_the_command_line_names_and_takes_every_loss_of_the_table(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(TrainOptions, args=["--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"--loss {'|'.join(LOSSES)}" in shown
    for name, loss in LOSSES.items():
        assert f"{name}: {loss.__doc__.split('.')[0]}." in shown
        assert tyro.cli(TrainOptions, args=["--loss", name]).loss == name
    with pytest.raises(SystemExit):
        tyro.cli(TrainOptions, args=["--loss", "hinge"])


def test_the_loss_on_structures_is_for_classes_with_ranks():
    assert TrainOptions().structure_weight == 1.0
    assert TrainOptions(structure_loss=0.5).structure_weight == 0.5
    assert TrainOptions(structure_loss=0.5, num_classes=4).structure_weight == 0.0


def test_a_choice_without_effect_does_not_decide_about_a_resume():
    four = [TrainOptions(num_classes=4, structure_loss=weight).run_identity() for weight in (0.0, 1.0)]
    assert four[0] == four[1]


def test_the_defaults_are_those_of_the_original_script():
    options = TrainOptions()
    assert (options.epochs, options.batch_size, options.lr, options.num_classes) == (20, 4, 0.001, 14)
    assert (options.model, str(options.save_dir), str(options.shards.data_dir)) == (
        "both",
        "models/saved",
        "data",
    )
    assert options.shards.seed == 42


def test_files_have_the_names_that_evaluation_looks_for():
    options = TrainOptions()
    assert options.file("A", "best.pth").as_posix() == "models/saved/model_a_synthetic_best.pth"
    assert options.file("B", "best.pth").as_posix() == "models/saved/model_b_real_best.pth"


@pytest.mark.parametrize(
    ("change", "decides"),
    [
        ({"lr": 0.1}, True),
        ({"ema_decay": 0.9}, True),
        ({"loss": "tversky-ce"}, True),
        ({"structure_loss": 0.5}, True),
        ({"structure_loss": 0.0}, True),
        ({"precision": "fp32"}, False),
        ({"accumulate": 2}, False),
        ({"shards": ShardOptions(layout="spider")}, False),
    ],
)
def test_only_what_changes_the_steps_decides_about_a_resume(change, decides):
    assert (TrainOptions(**change).run_identity() != TrainOptions().run_identity()) == decides


def test_the_password_of_a_url_is_neither_shown_nor_stored():
    for url in ("http://user:sesame@host/v1", "https://sesame@host", "ftp://u:a b sesame@[::1]:80/x"):
        options = TrainOptions(shards=ShardOptions(shards_dir=url))
        assert options.to_dict()["shards"]["shards_dir"].startswith(url.partition("//")[0] + "//")
        for stored in (options.summary(), json.dumps(options.to_dict()), json.dumps(options.run_identity())):
            assert "sesame" not in stored and "user" not in stored
