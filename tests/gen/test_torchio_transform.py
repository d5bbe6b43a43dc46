"""The transform in TorchIO's own pipeline."""

import numpy as np
import pytest
import torch

from synthspine.gen import SpineSynthGenerator

tio = pytest.importorskip("torchio", reason="torchio is not installed: pip install 'synthspine[interop]'")

from synthspine.gen.torchio_transform import SynthSpineTransform  # noqa: E402


def subject():
    labels = torch.zeros(1, 3, 32, 40, dtype=torch.uint8)
    labels[:, :, 8:18, 24:34], labels[:, :, 8:18, 20:23], labels[:, :, 18:22, 4:36] = 1, 7, 13
    return tio.Subject(label=tio.LabelMap(tensor=labels, affine=np.diag([4.0, 1.0, 1.0, 1.0])))


@pytest.fixture(scope="module")
def transform():
    return SynthSpineTransform(SpineSynthGenerator("T1"))


@pytest.mark.parametrize("deform", [False, True])
def test_the_image_lies_on_the_label_map_and_the_history_gives_it_again(deform):
    transform = tio.Compose(
        [SynthSpineTransform(SpineSynthGenerator("T1"), deform=deform), tio.RandomFlip(axes=1)]
    )
    made = transform(subject())
    assert made.image.shape == made.label.shape and np.array_equal(made.image.affine, made.label.affine)
    assert made.image.data.dtype == torch.float32 and 0.1 < made.image.data.std() < 1
    assert made.history[0].name == "SynthSpine"
    again = made.get_composed_history()(subject())
    assert torch.equal(again.image.data, made.image.data)
    assert torch.equal(again.label.data, made.label.data)
    assert not torch.equal(transform(subject()).image.data, made.image.data)


def test_torch_s_seed_chooses_the_picture_and_the_subject_is_not_changed(transform):
    torch.manual_seed(1)
    original = subject()
    first = transform(original).image.data
    assert "image" not in original
    torch.manual_seed(1)
    assert torch.equal(transform(subject()).image.data, first)


def test_workers_of_a_loader_render_different_pictures(transform):
    dataset = tio.SubjectsDataset([subject()] * 4, transform=transform)
    loader = tio.SubjectsLoader(dataset, batch_size=2, num_workers=2)
    images = torch.cat([batch["image"][tio.DATA] for batch in loader])
    assert images.shape == (4, 1, 3, 32, 40)
    assert len({image.numpy().tobytes() for image in images}) == 4
