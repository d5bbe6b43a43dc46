import csv
import dataclasses
import math
import re
import time

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from synthspine.gen import label_scheme
from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.shards.checking.overlay import coloured, grey_picture
from synthspine.train import reporting
from synthspine.train.config import Plan
from synthspine.train.model.unet import UNet
from synthspine.train.reporting import Epoch, Reporter, columns_of, validation_picture
from synthspine.train.validation import Score, ValidationSet

PICTURE = torch.zeros(3, 8, 8, dtype=torch.uint8)


@pytest.fixture
def plan(tmp_path):
    return Plan(
        title="test",
        steps=100,
        steps_per_epoch=10,
        batch_size=4,
        highest_rate=0.1,
        weight_decay=0.0,
        ema_decay=0.9,
        bf16=False,
        run_identity={},
        stem=tmp_path / "run",
        board=True,
    )


def epoch(step, loss=1.0):
    score = Score(structures=dict(zip(STRUCTURES, (0.5, 0.25, math.nan), strict=True)), samples=3)
    return Epoch(
        step=step,
        epoch=step // 10,
        samples=4 * step,
        minutes=1.5,
        learning_rate=0.01,
        loss=loss,
        images_per_second=12.34,
        skipped=1,
        score=score,
        best=False,
    )


def report(plan, start, steps, loss=1.0):
    reporter = Reporter(plan, start, STRUCTURES, active=True)
    for step in steps:
        reporter.add(epoch(step, loss), lambda: PICTURE)
    reporter.close()


def curve(plan, name):
    events = EventAccumulator(str(plan.file("tensorboard")), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def rows(plan):
    with plan.file("log.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_an_epoch_is_a_row_and_a_point_of_every_curve(plan):
    report(plan, 0, [10])
    (row,) = rows(plan)
    assert tuple(row) == columns_of(STRUCTURES)
    assert (row["step"], row["images_per_second"], row["skipped"], row["dice_disc"]) == (
        "10",
        "12.3",
        "1",
        "0.2500",
    )
    assert curve(plan, "loss") == [(10, 1.0)]
    assert curve(plan, "dice/vertebra") == [(10, 0.5)]
    assert curve(plan, "dice/mean") == [(10, 0.375)]
    assert curve(plan, "images_per_second") == [(10, pytest.approx(12.34))]
    assert curve(plan, "learning_rate") == [(10, pytest.approx(0.01))]
    events = EventAccumulator(str(plan.file("tensorboard"))).Reload()
    assert len(events.Images("validation: image, truth, prediction")) == 1


def test_a_resumed_run_has_no_epoch_twice(plan):
    report(plan, 0, [10, 20, 30], loss=1.0)
    # The last snapshot was made at step 15: epochs 20 and 30 are done again.
    report(plan, 15, [20, 30, 40], loss=2.0)
    assert [row["step"] for row in rows(plan)] == ["10", "20", "30", "40"]
    assert [row["loss"] for row in rows(plan)] == ["1.0000", "2.0000", "2.0000", "2.0000"]
    assert curve(plan, "loss") == [(10, 1.0), (20, 2.0), (30, 2.0), (40, 2.0)]
    assert [step for step, _ in curve(plan, "dice/disc")] == [10, 20, 30, 40]


def test_a_new_run_forgets_the_one_before(plan):
    report(plan, 0, [10, 20])
    report(plan, 0, [10], loss=3.0)
    assert [row["step"] for row in rows(plan)] == ["10"]
    assert curve(plan, "loss") == [(10, 3.0)]


def test_other_ranks_write_and_tell_nothing(plan, capsys):
    reporter = Reporter(plan, 0, STRUCTURES, active=False)
    reporter.advance(10, 0.75)
    reporter.add(epoch(10), lambda: PICTURE)
    reporter.log("something")
    reporter.close()
    assert not list(plan.stem.parent.iterdir())
    assert capsys.readouterr() == ("", "")


def test_the_bar_tells_steps_loss_and_time_left(plan, capsys, monkeypatch):
    monkeypatch.setattr(reporting, "SHORTEST_REFRESH_SECONDS", 0)
    reporter = Reporter(plan, 20, STRUCTURES, active=True)
    time.sleep(0.02)
    reporter.advance(60, 0.75)
    reporter.close()
    last = capsys.readouterr().err.rpartition("\r")[2]
    assert re.search(r"test:.* 60/100 \[\d\d:\d\d<\d\d:\d\d, .*step/s, loss=0\.750\]", last)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_full_disk_costs_the_row_and_not_the_run(plan, small_files, capsys):
    reporter = Reporter(plan, 0, STRUCTURES, active=True)
    with small_files(10):
        reporter.add(epoch(10), lambda: None)
    # TensorBoard's writer is a thread: it may tell of the first epoch with the second.
    reporter.add(epoch(20), lambda: None)
    told = capsys.readouterr().out
    assert "warning: the log could not be written" in told
    assert "warning: TensorBoard's file (and no more of it) could not be written" in told
    reporter.add(epoch(30), lambda: None)
    reporter.close()
    assert not capsys.readouterr().out
    assert [row["step"] for row in rows(plan)] == ["10", "20", "30"]


def test_a_picture_has_three_rows_of_samples(alone):
    codes = torch.ones(2, 32, 48, dtype=torch.uint8)
    samples = ValidationSet(torch.rand(2, 1, 32, 48), codes)
    network = UNet(num_classes=4, base_features=4)
    picture = validation_picture(network, samples, label_scheme(4), alone, bf16=False)
    assert (picture.shape, picture.dtype) == ((3, 3 * 32 + 4, 2 * 48 + 2), torch.uint8)
    image = grey_picture(samples.images[1, 0].numpy())
    assert np.array_equal(picture[:, :32, 50:].permute(1, 2, 0), image)
    # All vertebra, so without a border inside.
    truth = coloured(codes[1].numpy(), samples.images[1, 0].numpy())
    assert np.array_equal(picture[:, 34:66, 50:].permute(1, 2, 0), truth)
    assert (picture[:, 32:34] == 255).all() and (picture[:, :, 48:50] == 255).all()
    assert network.training
    empty = ValidationSet(samples.images[:0], codes[:0])
    assert validation_picture(network, empty, label_scheme(4), alone, bf16=False) is None


def torn(text):
    return text[: text.rindex(",0.5")]


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (torn, [10, 20, 40]),
        (lambda text: text.replace("20,2,80", "x0,2,80"), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "20,2,8\udcff"), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "-20,2,80"), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "9" * 5000 + ",2,80"), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "20,2,80,7"), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "\0" * 4000), [10, 30, 40]),
        (lambda text: text.replace("20,2,80", "0" * 200_000), [10, 40]),
        (lambda text: text.replace("step", "stop"), [40]),
    ],
)
def test_a_damaged_log_costs_its_damaged_rows_and_not_the_run(plan, capsys, damage, left):
    plan = dataclasses.replace(plan, board=False)
    report(plan, 0, [10, 20, 30])
    path = plan.file("log.csv")
    damaged = damage(path.read_text()).encode(errors="surrogateescape")
    path.write_bytes(damaged)
    report(plan, 35, [40])
    assert [int(row["step"]) for row in rows(plan)] == left
    told = capsys.readouterr().out
    assert "run_log.csv: " in told and "damaged row(s) left out, kept in run_log.damaged.csv" in told
    assert path.with_name("run_log.damaged.csv").read_bytes() == damaged


@pytest.mark.parametrize("what", ["log.csv", "tensorboard"])
def test_something_else_in_the_place_of_a_report_does_not_end_a_run(plan, capsys, what):
    if what == "tensorboard":
        plan.file(what).write_text("a file")
    else:
        plan.file(what).mkdir()
    report(plan, 5, [10, 20])
    assert "training goes on" in capsys.readouterr().out
