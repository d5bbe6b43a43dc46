"""The user's API."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from synthspine.gen import SpineSynthGenerator, SyntheticDataset, SyntheticStream, label_scheme, preset
from synthspine.gen.config import plain
from synthspine.gen.core.anatomy import IGNORE
from synthspine.gen.core.schemes import label_scheme as scheme_of
from synthspine.gen.geometry.affine import AffineConfig


@pytest.fixture
def fourteen(spine):
    return scheme_of("14").encode(torch.from_numpy(spine)).numpy()


def test_the_image_has_shape_kind_and_range_of_its_map(fourteen):
    generator = SpineSynthGenerator()
    image = generator.generate_synthetic_mri(fourteen)
    assert isinstance(image, np.ndarray) and image.shape == fourteen.shape and image.dtype == np.float32
    tensor = torch.from_numpy(fourteen.astype(np.int64))
    for value in (
        tensor,
        tensor[None].repeat(3, 1, 1),
        tensor[None, None],
        tensor[None, None, None].repeat(2, 1, 3, 1, 1),
    ):
        result = generator.generate_synthetic_mri(value)
        assert isinstance(result, torch.Tensor) and result.shape == value.shape
        assert result.min() >= 0 and result.max() <= 1


def _flat_generator(**features):
    """Tissues of one grey value each, seen sharply: every border of the image is a border of the map."""
    return SpineSynthGenerator(config=replace(plain(preset("spine")), **features))


def _varies_within_a_vertebra(image, labels):
    spread = [float(np.ptp(image[labels == rank])) for rank in (1, 2, 3) if (labels == rank).any()]
    return max(spread) > 1e-5


def test_generate_keeps_anatomy_where_it_was(fourteen):
    """A flat picture is constant inside each vertebra of the caller's map, and no longer one pixel aside."""
    generator = _flat_generator()
    moved = np.roll(fourteen, 1, axis=1)
    images = [generator.generate_synthetic_mri(fourteen, index=index) for index in range(8)]
    assert not any(_varies_within_a_vertebra(image, fourteen) for image in images)
    assert all(_varies_within_a_vertebra(image, moved) for image in images)


def test_a_batch_renders_each_map_onto_itself_and_as_alone(fourteen):
    generator = SpineSynthGenerator("T1")
    batch = np.stack([fourteen, np.roll(fourteen, 5, axis=1)])[:, None]
    images = generator.generate_synthetic_mri(batch, index=4)
    for place in range(2):
        alone = generator.generate_synthetic_mri(batch[place, 0], index=4 + place)
        assert np.array_equal(images[place, 0], alone)


def test_alpha_moves_the_canal_from_dark_to_bright(fourteen):
    generator = SpineSynthGenerator(add_bias_field=False, resolution_range=(1, 1))
    canal, body = fourteen == 13, (fourteen >= 1) & (fourteen <= 6)
    ratio = []
    for alpha in (0.0, 0.5, 1.0):
        images = [
            generator.generate_synthetic_mri(fourteen, contrast_alpha=alpha, index=i) for i in range(12)
        ]
        ratio.append(np.mean([image[canal].mean() / image[body].mean() for image in images]))
    assert ratio[0] < 0.8 < 1.1 < ratio[2]
    assert ratio[0] < ratio[1] < ratio[2]


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_extrapolation_is_refused(fourteen, alpha):
    with pytest.raises(ValueError, match="alpha"):
        SpineSynthGenerator().generate_synthetic_mri(fourteen, contrast_alpha=alpha)


def test_each_switch_of_the_constructor_acts(fourteen):
    plain = SpineSynthGenerator("T1", (1.0, 1.0), False, False, False)
    first = plain.generate_synthetic_mri(fourteen)
    for arguments in (
        {"resolution_range": (3.0, 4.0)},
        {"add_bias_field": True},
        {"add_noise": True},
        {"add_motion": True},
        {"contrast_type": "T2"},
    ):
        defaults = {
            "contrast_type": "T1",
            "resolution_range": (1.0, 1.0),
            "add_bias_field": False,
            "add_noise": False,
            "add_motion": False,
        }
        other = SpineSynthGenerator(**(defaults | arguments))
        changed = [
            not np.array_equal(
                plain.generate_synthetic_mri(fourteen, index=i),
                other.generate_synthetic_mri(fourteen, index=i),
            )
            for i in range(8)
        ]
        assert any(changed), arguments
    assert np.array_equal(first, plain.generate_synthetic_mri(fourteen))


def test_sample_moves_image_and_target_together(fourteen):
    generator = _flat_generator(affine=AffineConfig())
    image, target = generator.sample(fourteen[None, None], indices=range(8))
    assert image.shape == (8, 1, *fourteen.shape) and target.shape == (8, *fourteen.shape)
    assert set(np.unique(target)) <= set(range(14)) | {IGNORE}
    for picture, labels in zip(image[:, 0], target, strict=True):
        assert not _varies_within_a_vertebra(picture, labels)
        assert _varies_within_a_vertebra(picture, fourteen)


def test_spider_and_dense_maps_give_the_same_picture(spine):
    from synthspine.gen.core.anatomy import spider_values

    spider = spider_values()[spine]
    dense = SpineSynthGenerator("T1", labels="dense").generate_synthetic_mri(spine)
    assert np.array_equal(dense, SpineSynthGenerator("T1", labels="spider").generate_synthetic_mri(spider))
    _, target = SpineSynthGenerator("T1", labels="spider").sample(spider[None, None], indices=[0])
    assert set(np.unique(target)) <= {0, 1, 2, 3, 100, 201, 202, 203, IGNORE}


def test_255_of_the_14_class_scheme_is_painted_as_tissue_and_stays_255(fourteen):
    upper = fourteen.copy()
    upper[:30, 20:42] = 255
    generator = SpineSynthGenerator("T1")
    image = generator.generate_synthetic_mri(upper)
    _, target = generator.sample(upper[None, None], indices=[0, 1, 2])
    assert (image[:30, 20:42] > 0).mean() > 0.5
    assert (target == 255).any()


def test_dataset_counts_maps_times_augmentations_and_repeats_itself(fourteen):
    dataset = SyntheticDataset(
        label_maps=[fourteen, fourteen], generator=SpineSynthGenerator(), num_augmentations=5
    )
    assert len(dataset) == 10
    first, second = dataset[7], dataset[7]
    assert first[0].shape == (1, *fourteen.shape) and first[0].dtype == torch.float32
    assert first[1].shape == fourteen.shape and first[1].dtype == torch.int64
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(dataset[5][0], dataset[6][0])
    with pytest.raises(IndexError):
        dataset[10]


def test_dataset_gives_the_same_samples_through_workers(fourteen):
    dataset = SyntheticDataset([fourteen], SpineSynthGenerator(), num_augmentations=6)
    loader = DataLoader(dataset, batch_size=2, num_workers=2)
    images = torch.cat([image for image, _ in loader])
    assert torch.equal(images, torch.stack([dataset[i][0] for i in range(6)]))


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (np.zeros((8, 8), dtype=np.float32), TypeError, "float32"),
        (np.full((8, 8), 77, dtype=np.uint8), ValueError, "77"),
        (np.full((8, 8), -3, dtype=np.int16), ValueError, "-3"),
        (np.zeros((2, 3, 8, 8), dtype=np.uint8), ValueError, "shape"),
        (np.zeros((0, 1, 8, 8), dtype=np.uint8), ValueError, "nothing"),
        (np.zeros(8, dtype=np.uint8), ValueError, "shape"),
        (np.zeros((8, 1), dtype=np.uint8), ValueError, "columns"),
    ],
)
def test_a_map_that_cannot_be_rendered_is_refused(value, error, match):
    with pytest.raises(error, match=match):
        SpineSynthGenerator().generate_synthetic_mri(value)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"contrast_type": "flair"}, "flair"),
        ({"resolution_range": (4.0, 1.0)}, "lower end"),
        ({"resolution_range": (0.5, 1.0)}, "0.5"),
        ({"labels": "7"}, "7"),
    ],
)
def test_a_generator_that_cannot_be_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        SpineSynthGenerator(**arguments)


def test_label_scheme_is_public():
    assert label_scheme(14).num_classes == 14


_KINDS = {
    "flipped": lambda maps: maps[..., ::-1, ::-1],
    "transposed": lambda maps: maps.swapaxes(-1, -2),
    "big-endian": lambda maps: maps.astype(">i2"),
    "big-endian and unsigned": lambda maps: maps.astype(">u2")[..., ::-1],
    "every second": lambda maps: np.repeat(maps, 2, axis=-1)[..., ::2],
}


@pytest.mark.parametrize("kind", list(_KINDS))
def test_label_maps_may_be_views_of_either_byte_order(fourteen, kind):
    maps = _KINDS[kind](np.stack([fourteen, fourteen[::-1]]).astype(np.uint8))
    generator = SpineSynthGenerator("T2", seed=5)
    plain_maps = np.array(maps, dtype=np.int64, order="C")
    image, target = generator.sample(plain_maps[:, None], indices=[0, 1])
    assert np.array_equal(generator.sample(maps[:, None], indices=[0, 1])[0], image)
    ((streamed, aimed),) = SyntheticStream(maps, generator, batch_size=2, batches=1)
    assert np.array_equal(streamed, image) and np.array_equal(aimed, target)
    ours, theirs = (
        SyntheticDataset(list(maps), generator, 1),
        SyntheticDataset(list(plain_maps), generator, 1),
    )
    assert all(
        torch.equal(a, b) for pair in zip(ours, theirs, strict=True) for a, b in zip(*pair, strict=True)
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_does_not_reach_the_generator(fourteen, dtype):
    generator = SpineSynthGenerator("spine")
    expected = generator.sample(fourteen, indices=range(8))
    with torch.autocast("cpu", dtype=dtype):
        found = generator.sample(fourteen, indices=range(8))
        assert torch.is_autocast_enabled("cpu")
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_default_dtype_does_not_reach_the_generator(fourteen, dtype):
    generator = SpineSynthGenerator("spine")
    expected = generator.sample(fourteen, indices=range(8))
    torch.set_default_dtype(dtype)
    try:
        found = generator.sample(fourteen, indices=range(8))
        with pytest.raises(ValueError):
            generator.sample(fourteen, indices=[-1])
        assert torch.get_default_dtype() is dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"generator": None}, TypeError, "generator is None"),
        ({"num_augmentations": 1.5}, TypeError, "num_augmentations is 1.5"),
        ({"num_augmentations": 0}, ValueError, "empty"),
        ({"label_maps": []}, ValueError, "empty"),
    ],
)
def test_a_dataset_that_cannot_be_is_refused(arguments, error, match):
    defaults = {"label_maps": [np.zeros((6, 5), dtype=np.uint8)], "generator": SpineSynthGenerator()}
    with pytest.raises(error, match=match):
        SyntheticDataset(**(defaults | arguments))
    dataset = SyntheticDataset(**defaults)
    for index in (True, 1.0, "1", None):
        with pytest.raises(TypeError, match="index is"):
            dataset[index]
