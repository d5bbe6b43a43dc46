"""The transform in MONAI's own pipeline."""

import nibabel
import numpy as np
import pytest
import torch

from synthspine.gen import SpineSynthGenerator

monai = pytest.importorskip("monai", reason="monai is not installed: pip install 'synthspine[interop]'")

from monai.data import CacheDataset, DataLoader, MetaTensor  # noqa: E402
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandFlipd  # noqa: E402

from synthspine.gen.monai_transform import RandSynthSpined  # noqa: E402


@pytest.fixture
def files(tmp_path):
    labels = np.zeros((3, 32, 40), dtype=np.uint8)
    labels[:, 8:18, 24:34], labels[:, 8:18, 20:23], labels[:, 18:22, 4:36] = 1, 7, 13
    path = tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([4.0, 1.0, 1.0, 1.0])), path)
    return [{"label": str(path)}] * 4


def pipeline(**options):
    random = [RandSynthSpined("label", SpineSynthGenerator("T1"), **options)]
    random.append(RandFlipd(["label", "image"], prob=0.5, spatial_axis=1))
    return Compose([LoadImaged("label"), EnsureChannelFirstd("label"), *random]).set_random_state(4)


@pytest.mark.parametrize("deform", [False, True])
def test_the_image_lies_on_the_label_map_and_tells_its_number(files, deform):
    made = pipeline(deform=deform)(files[0])
    image, label = made["image"], made["label"]
    assert isinstance(image, MetaTensor) and isinstance(label, MetaTensor)
    assert image.shape == label.shape and torch.equal(image.affine, label.affine)
    assert image.dtype == torch.float32 and 0.1 < image.std() < 1
    assert image.meta["synthspine_seed"] == 0 and image.meta["synthspine_index"] > 0
    again = pipeline(deform=deform)(files[0])
    assert torch.equal(again["image"], image) and torch.equal(again["label"], label)


def test_arrays_without_an_affine_are_in_the_axes_of_the_generator():
    labels = np.zeros((1, 40, 32), dtype=np.uint8)
    labels[0, 6:16, 8:18], labels[0, 4:36, 20:25] = 1, 13
    generator = SpineSynthGenerator("T1", seed=9)
    made = RandSynthSpined("map", generator, "picture").set_random_state(1)({"map": labels})
    index = made["picture"].meta["synthspine_index"]
    assert np.array_equal(made["picture"][0], generator.generate_synthetic_mri(labels[0], index=index))


def test_a_cache_holds_label_maps_and_every_epoch_has_new_pictures(files):
    dataset = CacheDataset(files, pipeline(), progress=False)
    first, second = ([dataset[n]["image"].numpy().tobytes() for n in range(4)] for _ in range(2))
    assert len({*first, *second}) == 8


def test_workers_of_a_loader_render_different_pictures(files):
    loader = DataLoader(CacheDataset(files, pipeline(), progress=False), batch_size=2, num_workers=2)
    batches = list(loader)
    assert all(batch["image"].shape == batch["label"].shape == (2, 1, 3, 32, 40) for batch in batches)
    images = torch.cat([batch["image"] for batch in batches])
    assert len({image.numpy().tobytes() for image in images}) == 4
