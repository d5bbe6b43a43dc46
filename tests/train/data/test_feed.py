import numpy as np
import pytest
import torch

from synthspine.gen import preset
from synthspine.gen.core.anatomy import IGNORE
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.reading.open import SampleArrays, open_set
from synthspine.train.data.augment import AugmentConfig
from synthspine.train.data.feed import RealFeed, RenderFeed, ShardFeed, SplitFeed
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.sources import Sources

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, device=CPU)
BATCH = 4


@pytest.fixture
def bank():
    labels = np.zeros((3, 32, 32), dtype=np.uint8)
    labels[:, 4:12, 8:16], labels[:, 12:15, 8:16], labels[:, 15:24, 8:16] = 2, 32, 1
    labels[:, 2:30, 18:22] = 60
    return labels


@pytest.fixture(params=["render", "real", "shards"])
def make_feed(request, bank, options):
    images = np.linspace(0, 1, 5 * 32 * 32).reshape(5, 32, 32).astype(np.float16)
    arrays = SampleArrays(images, np.repeat(bank[:1], 5, axis=0), [{}] * 5)
    shard_set = None
    if request.param == "shards":
        shard_set = open_set(ensure_sets(["synthetic"], options().shards)["synthetic"])

    def make(ranks=ALONE):
        shared = {"seed": 7, "batch_size": BATCH, "ranks": ranks}
        if request.param == "render":
            return RenderFeed(bank, preset("spine", spacing_mm=4.0), **shared)
        if request.param == "real":
            return RealFeed(arrays, AugmentConfig(), **shared)
        return ShardFeed(shard_set, **shared)

    return make


def assert_same(found, wanted):
    torch.testing.assert_close(found[0], wanted[0], atol=1e-5, rtol=0)
    assert torch.equal(found[1], wanted[1])


def test_a_batch_has_the_types_that_the_trainer_takes(make_feed):
    images, codes = make_feed().batch(0)
    assert (images.shape, images.dtype) == ((BATCH, 1, 32, 32), torch.float32)
    assert (codes.shape, codes.dtype) == ((BATCH, 32, 32), torch.uint8)


def test_a_batch_is_a_function_of_the_step(make_feed):
    feed = make_feed()
    earlier = [feed.batch(step) for step in range(4)]
    assert_same(make_feed().batch(3), earlier[3])
    assert_same(feed.batch(1), earlier[1])
    assert not torch.equal(earlier[0][0], earlier[1][0])


def test_two_ranks_share_the_batch_of_one(make_feed):
    whole = make_feed().batch(2)
    for rank in (0, 1):
        part = make_feed(Ranks(rank=rank, world_size=2, device=CPU)).batch(2)
        assert_same(part, (whole[0][rank::2], whole[1][rank::2]))


@pytest.mark.parametrize("world", [1, 3])
def test_steps_that_are_rendered_together_are_those_rendered_one_by_one(bank, world):
    ranks = Ranks(rank=world - 1, world_size=world, device=CPU)
    feed = RenderFeed(bank, preset("spine", spacing_mm=4.0), seed=7, batch_size=BATCH, ranks=ranks)
    together = SplitFeed(feed.joined(3), 3)
    for step in (0, 2, 3, 7, 1):
        for found, wanted in zip(together.batch(step), feed.batch(step), strict=True):
            assert torch.equal(found, wanted)


def test_a_set_of_steps_is_rendered_once_while_its_steps_are_taken():
    numbers = []

    class Numbers:
        def batch(self, number):
            numbers.append(number)
            return torch.arange(8) + 8 * number, torch.arange(8)

    feed = SplitFeed(Numbers(), 4)
    assert [feed.batch(step)[0].tolist() for step in (2, 3, 4)] == [[4, 5], [6, 7], [8, 9]]
    assert numbers == [0, 1]


def test_training_takes_the_same_batches_where_several_steps_are_rendered_together(
    options, alone, monkeypatch
):
    sources = Sources.open(options(model="A"), alone)
    one_by_one = sources.feed_in_step("A")
    monkeypatch.setattr(RenderFeed, "steps_at_once", 2)
    with sources.feed("A") as feed:
        for step in range(3):
            assert torch.equal(feed.batch(step)[0], one_by_one.batch(step)[0])
            assert feed.batch(step)[0].shape == one_by_one.batch(step)[0].shape


@pytest.mark.parametrize(("device", "batch", "steps"), [("cpu", 8, 1), ("meta", 8, 16), ("meta", 100, 2),
                                                        ("meta", 4096, 1)])  # fmt: skip
def test_a_gpu_renders_as_many_steps_as_fill_it(device, batch, steps):
    ranks = Ranks(rank=0, world_size=1, device=torch.device(device))
    maps = np.zeros((1, 320, 256), dtype=np.uint8)
    feed = RenderFeed(maps, preset("spine"), seed=7, batch_size=batch, ranks=ranks)
    assert feed.steps_at_once == steps


def test_an_epoch_of_real_slices_takes_every_slice_once():
    images = np.arange(6, dtype=np.float16)[:, None, None] * np.ones((1, 16, 16), dtype=np.float16) / 8
    arrays = SampleArrays(images, np.zeros((6, 16, 16), dtype=np.uint8), [{}] * 6)
    feed = RealFeed(arrays, None, seed=1, batch_size=4, ranks=ALONE)
    seen = torch.cat([feed.batch(step)[0][:, 0, 0, 0] for step in range(3)]) * 8
    orders = [seen[:6].tolist(), seen[6:].tolist()]
    assert [sorted(order) for order in orders] == [list(range(6))] * 2
    assert orders[0] != orders[1]


def test_training_and_validation_draw_side_slices_in_their_share(options, alone, tmp_path):
    mask = np.zeros((3, 32, 32), dtype=np.int16)
    mask[1:, 4:28, 8:18], mask[1:, 2:-2, 20:24] = 1, 100
    for patient in range(4):
        write_mha(mask, (4.0, 4.0, 4.0), "LPS", tmp_path / "masks" / f"{patient}_t1.mha")
    chosen = options(model="A", data_dir=tmp_path, batch_size=100, validation_samples=100, side_share=0.3)
    sources = Sources.open(chosen, alone)
    validation = sources.validation("A")
    assert validation is not None
    for codes in (sources.feed_in_step("A").batch(0)[1], validation.codes):
        empty = ~((codes > 0) & (codes < IGNORE)).flatten(1).any(1)
        assert 20 <= empty.sum() <= 42


def test_real_feed_refuses_label_maps(bank):
    with pytest.raises(ValueError, match="no images"):
        RealFeed(SampleArrays(None, bank, [{}] * 3), None, seed=1, batch_size=2, ranks=ALONE)
