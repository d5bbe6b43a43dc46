"""Options of a prediction that cannot be followed."""

import pytest

from synthspine.eval.prediction import prediction
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.prediction import predict
from synthspine.train.model.checkpoint import CheckpointError


def test_the_projects_model_that_is_not_there_is_told_with_what_to_do(tmp_path, image_file, monkeypatch):
    missing = tmp_path / "pretrained" / "model.pth"
    monkeypatch.setattr(prediction, "PRETRAINED", missing)
    options = PredictOptions(images=(image_file(),), checkpoint=missing, output_dir=tmp_path / "out")
    with pytest.raises(CheckpointError, match=rf"{missing}: the model .* is not there; name .*--checkpoint"):
        next(predict(options))


def test_options_need_something_to_do(tmp_path):
    with pytest.raises(ValueError, match="no image given"):
        PredictOptions(checkpoint=tmp_path / "a.pth")
    assert PredictOptions(checkpoint=tmp_path / "a.pth", onnx=tmp_path / "a.onnx").images == ()
    with pytest.raises(ValueError, match="min_island_mm2 -1"):
        PredictOptions(images=(tmp_path,), checkpoint=tmp_path / "a.pth", min_island_mm2=-1)
