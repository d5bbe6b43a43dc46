import math
import os

import pytest
import torch

from synthspine.gen import LabelScheme, label_scheme
from synthspine.train.model import checkpoint as checkpoint_module
from synthspine.train.model.checkpoint import (
    CHECKPOINT_FORMAT,
    SNAPSHOT_FORMAT,
    Checkpoint,
    CheckpointError,
    bare_state,
    load_checkpoint,
    load_model,
    save_checkpoint,
    write_payload,
)
from synthspine.train.model.unet import UNet


@pytest.fixture
def model() -> UNet:
    return UNet(num_classes=4, base_features=4)


def checkpoint_of(model: UNet, /, **changes) -> Checkpoint:
    fields = {
        "state_dict": model.state_dict(),
        "architecture": model.architecture,
        "model": "A",
        "config": '{"seed": 42}',
        "step": 7,
        "validation_dice": 0.5,
        "spacing_mm": 1.0,
    }
    return Checkpoint(**(fields | changes))


def test_a_saved_model_answers_as_before(model, tmp_path):
    save_checkpoint(tmp_path / "new" / "model.pth", checkpoint_of(model))
    image = torch.rand(1, 1, 32, 32)
    loaded = load_model(tmp_path / "new" / "model.pth")
    assert not loaded.training
    assert torch.equal(loaded(image), model.eval()(image))


def test_a_loaded_model_carries_its_metadata(model, tmp_path):
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, validation_dice=math.nan))
    loaded = load_model(tmp_path / "model.pth").checkpoint
    assert (loaded.model, loaded.step, loaded.spacing_mm, loaded.config) == ("A", 7, 1.0, '{"seed": 42}')
    assert math.isnan(loaded.validation_dice)


THREE = {
    "name": "three",
    "structures": {"vertebra": "1-25", "sacrum": 61},
    "classes": {"background": 0, "vertebra": ["1-25"], "sacrum": 61},
}


def test_a_checkpoint_keeps_its_label_scheme(tmp_path):
    saved = checkpoint_of(UNet(num_classes=3, base_features=4), scheme=THREE)
    save_checkpoint(tmp_path / "model.pth", saved)
    assert load_model(tmp_path / "model.pth").scheme == LabelScheme.from_dict(THREE)


def test_a_file_without_label_scheme_has_that_of_its_number_of_classes(model, tmp_path):
    values = {name: getattr(checkpoint_of(model), name) for name in Checkpoint.__slots__ if name != "scheme"}
    write_payload(tmp_path / "old.pth", {"format": CHECKPOINT_FORMAT, **values})
    assert load_model(tmp_path / "old.pth").scheme == label_scheme(4)


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        (THREE, "its label scheme three has 3 classes, but its network 4"),
        (THREE | {"classes": {"vertebra": 1}}, "first class must be background"),
        ({"name": "empty"}, "a label scheme has the keys"),
    ],
)
def test_a_label_scheme_that_does_not_fit_is_refused(model, tmp_path, scheme, reason):
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, scheme=scheme))
    with pytest.raises(CheckpointError, match=rf"model\.pth: .*{reason}"):
        load_model(tmp_path / "model.pth")


def test_a_network_of_other_classes_needs_a_label_scheme(tmp_path):
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(UNet(num_classes=6, base_features=4)))
    with pytest.raises(CheckpointError, match=r"model\.pth: a network of 6 classes needs a label scheme"):
        load_model(tmp_path / "model.pth")


def test_a_prefix_in_the_middle_of_a_name_stays():
    weight = torch.zeros(1)
    assert list(bare_state({"module.sub_module.weight": weight})) == ["sub_module.weight"]
    assert list(bare_state({"_orig_mod.module.x": weight})) == ["x"]


def test_prefixes_of_wrappers_are_stripped(model, tmp_path):
    wrapped = {f"module._orig_mod.{name}": value for name, value in model.state_dict().items()}
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, state_dict=wrapped))
    assert load_checkpoint(tmp_path / "model.pth").state_dict.keys() == model.state_dict().keys()


def test_a_failed_save_keeps_the_older_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.pth"
    save_checkpoint(path, checkpoint_of(model))

    def dies(place, data):
        place.open("wb").write(data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_module.Path, "write_bytes", dies)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, checkpoint_of(model, step=8))
    monkeypatch.undo()
    assert load_checkpoint(path).step == 7
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.pth: no such checkpoint"):
        load_model(tmp_path / "nothing.pth")


def test_what_is_no_file_is_called_so(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path, tmp_path / "pipe.pth"):
        with pytest.raises(CheckpointError, match="is a folder, a pipe or a device, not a file"):
            load_model(path)


def test_a_truncated_file_is_refused_by_name(model, tmp_path):
    path = tmp_path / "model.pth"
    save_checkpoint(path, checkpoint_of(model))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=r"model\.pth: damaged"):
        load_checkpoint(path)


def test_a_flipped_byte_in_the_weights_is_found(model, tmp_path):
    path = tmp_path / "model.pth"
    save_checkpoint(path, checkpoint_of(model))
    data = bytearray(path.read_bytes())
    weight = model.state_dict()["head.weight"].numpy().tobytes()
    data[data.index(weight) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.pth: damaged"):
        load_checkpoint(path)


def test_a_full_disk_is_an_error_of_the_system_and_keeps_the_older_file(model, tmp_path, small_files):
    path = tmp_path / "model.pth"
    save_checkpoint(path, checkpoint_of(model))
    with small_files(10_000), pytest.raises(OSError, match=r"File too large: .*model\.pth"):
        save_checkpoint(path, checkpoint_of(model, step=8))
    assert load_checkpoint(path).step == 7
    assert list(tmp_path.iterdir()) == [path]


class Payload:
    """Something that only unpickling could bring back."""


def test_a_file_with_code_in_it_is_refused(tmp_path):
    torch.save({"format": 1, "state_dict": Payload()}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint"):
        load_checkpoint(tmp_path / "model.pth")


def test_another_format_is_refused(tmp_path):
    torch.save({"format": 99}, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match="checkpoint format 99, this version reads 1"):
        load_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("model_a_synthetic_last-00000120.pth", r"model_a_synthetic_best\.pth"),
        ("x.pth", r"the file \*_best\.pth"),
    ],
)
def test_a_training_snapshot_is_refused_with_the_name_of_the_checkpoint(tmp_path, name, best):
    write_payload(tmp_path / name, {"format": SNAPSHOT_FORMAT})
    with pytest.raises(
        CheckpointError, match=rf"{name}: a training snapshot, not a checkpoint; .* is {best} beside"
    ):
        load_model(tmp_path / name)


def test_a_bare_state_dictionary_is_refused(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=r"model\.pth"):
        load_checkpoint(tmp_path / "model.pth")


def test_weights_of_another_size_are_refused_in_one_line(model, tmp_path):
    other = model.architecture | {"base_features": 8}
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, architecture=other))
    with pytest.raises(CheckpointError, match="do not fit") as caught:
        load_model(tmp_path / "model.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"spacing_mm": 0}, "spacing_mm 0 is outside"),
        ({"spacing_mm": -1.0}, "spacing_mm -1.0 is outside"),
        ({"spacing_mm": 1e9}, "spacing_mm 1000000000.0 is outside"),
        ({"spacing_mm": math.nan}, "spacing_mm nan is outside"),
        ({"spacing_mm": "one"}, "spacing_mm 'one' is not a number"),
        ({"spacing_mm": True}, "spacing_mm True is not a number"),
        ({"spacing_mm": [1.0, 1.0]}, "is not a number"),
        ({"step": -1}, "step -1 is not"),
        ({"step": 1.5}, "step 1.5 is not"),
        ({"validation_dice": 7.0}, "validation_dice 7.0"),
        ({"validation_dice": None}, "validation_dice None"),
        ({"model": "C"}, "model 'C' is neither"),
        ({"model": ["A"]}, r"model \['A'\] is neither"),
        ({"config": "lr: 1"}, "Expecting value"),
        ({"config": "[]"}, "config is not"),
        ({"config": {"lr": 1}}, "config is not"),
        ({"config": "[" * 100_000}, "recursion"),
        ({"config": '{"train_patients": {"a": 1}}'}, "config is not"),
        ({"architecture": []}, "is not that of a network"),
        (
            {"architecture": {"in_channels": 1, "num_classes": 4, "base_features": 10**9}},
            "not that of a network",
        ),
        ({"architecture": {"in_channels": 1, "num_classes": 4, "base_features": 4096}}, "do not fit"),
        ({"architecture": {"num_classes": 4, "base_features": 4, "depth": 3}}, "not that of a network"),
        ({"architecture": {"num_classes": 4, "base_features": 4.0}}, "not that of a network"),
        ({"architecture": {"base_features": 4}}, "do not fit"),
        ({"scheme": 4}, "."),
        ({"scheme": ["ranks"]}, "."),
    ],
)
def test_entries_that_make_no_sense_are_refused_in_one_line(model, tmp_path, changes, reason):
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, **changes))
    for read in (load_checkpoint, load_model):
        with pytest.raises(CheckpointError, match=rf"model\.pth: .*{reason}") as caught:
            read(tmp_path / "model.pth")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    [[], {}, {"head.weight": 1}, {"head.weight": torch.ones(3, dtype=torch.int64)}, {5: torch.ones(1)}],
)
def test_weights_of_another_kind_are_refused(model, tmp_path, state):
    values = {name: getattr(checkpoint_of(model), name) for name in Checkpoint.__slots__}
    write_payload(tmp_path / "odd.pth", {"format": CHECKPOINT_FORMAT, **values, "state_dict": state})
    with pytest.raises(CheckpointError, match=r"odd\.pth: "):
        load_checkpoint(tmp_path / "odd.pth")


def test_weights_that_are_not_finite_are_refused(model, tmp_path):
    state = model.state_dict()
    state["head.bias"][0] = math.nan
    save_checkpoint(tmp_path / "model.pth", checkpoint_of(model, state_dict=state))
    with pytest.raises(CheckpointError, match=r"model\.pth: .*head\.bias has values that are not finite"):
        load_model(tmp_path / "model.pth")
