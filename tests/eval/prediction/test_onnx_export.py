import builtins
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from synthspine.eval.prediction.onnx_export import OnnxError, export_onnx
from synthspine.train.model.checkpoint import load_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network with weights that are not those of initialisation, and its file."""
    from synthspine.train.model.checkpoint import Checkpoint, save_checkpoint
    from synthspine.train.model.unet import UNet

    folder = tmp_path_factory.mktemp("onnx")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = UNet(num_classes=4, base_features=2)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    checkpoint = Checkpoint(
        state_dict=network.state_dict(),
        architecture=network.architecture,
        model="A",
        config="{}",
        step=1,
        validation_dice=0.5,
        spacing_mm=0.8,
    )
    save_checkpoint(folder / "a.pth", checkpoint)
    model = load_model(folder / "a.pth")
    export_onnx(model, folder / "a.onnx")
    return model, folder / "a.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 32, 16), (1, 1, 320, 256), (3, 1, 96, 160)])
def test_onnxruntime_answers_the_same_for_any_batch_and_size(exported, shape):
    model, path = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.Generator(np.random.PCG64(0)).random(shape, dtype=np.float32)
    (got,) = session.run(["logits"], {"image": image})
    with torch.inference_mode():
        expected = model(torch.from_numpy(image)).numpy()
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.999


@pytest.mark.slow
def test_sizes_that_the_network_cannot_take_are_named_in_the_graph(exported):
    graph = onnx.load(exported[1]).graph
    sizes = [entry.dim_param or entry.dim_value for entry in graph.input[0].type.tensor_type.shape.dim]
    assert sizes == ["batch", 1, "16*h", "16*w"]


@pytest.mark.slow
def test_file_says_how_to_use_it(exported):
    properties = {entry.key: entry.value for entry in onnx.load(exported[1]).metadata_props}
    assert float(properties["spacing_mm"]) == 0.8
    assert json.loads(properties["classes"]) == ["background", "vertebra", "disc", "canal"]
    assert json.loads(properties["spider_values"]) == [0, 1, 201, 100]


@pytest.mark.slow
def test_model_is_left_as_it_was(exported):
    model, _ = exported
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        np.testing.assert_array_equal(model(image), load_again(model)(image))


def load_again(model):
    from synthspine.train.model.checkpoint import TrainedUNet

    return TrainedUNet(model.checkpoint).eval()


def test_another_suffix_is_refused(tmp_path, save_untrained):
    model = load_model(save_untrained(tmp_path / "a.pth"))
    with pytest.raises(OnnxError, match=r"net\.pt: the file name does not end in \.onnx"):
        export_onnx(model, tmp_path / "net.pt")


def test_missing_package_is_named_with_its_remedy(tmp_path, save_untrained, monkeypatch):
    model = load_model(save_untrained(tmp_path / "a.pth"))
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name == "onnxscript":
            raise ModuleNotFoundError("No module named 'onnxscript'", name="onnxscript")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(OnnxError, match=r"onnxscript is missing; pip install 'synthspine\[onnx\]'"):
        export_onnx(model, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
