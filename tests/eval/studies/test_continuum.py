from dataclasses import replace

import pytest
import torch

from synthspine.eval.studies.continuum import PROTOCOLS, MapsToRender, between_t1_and_t2, by_physics
from synthspine.gen import preset
from synthspine.gen.config import config_hash, plain
from synthspine.gen.core.anatomy import CANAL
from synthspine.shards.building.names import LABELS_VAL
from synthspine.shards.building.options import ShardOptions
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.slices import Grid

SPACING_MM = 2.0
PLAIN = plain(preset("spine", spacing_mm=SPACING_MM))


@pytest.fixture
def maps(tmp_path, spider_folder):
    def make(config=PLAIN):
        options = ShardOptions(
            data_dir=spider_folder,
            shards_dir=str(tmp_path / "shards"),
            split=spider_folder / "split.json",
            device="cpu",
            grid=Grid(spacing_mm=SPACING_MM, shape=(112, 96)),
        )
        return MapsToRender(ensure_sets([LABELS_VAL], options)[LABELS_VAL], config, torch.device("cpu"))

    return make


def everything(maps):
    return torch.arange(maps.slices)


def test_every_render_is_of_its_own_map_and_patient(maps):
    loaded = maps()
    assert loaded.slices == 12 and set(loaded.patients) == {"3", "4"}
    _, codes = loaded.rendered(everything(loaded), loaded.config)
    bank = loaded._labels
    assert torch.equal(codes, bank)
    assert not torch.equal(bank[loaded.patients.index("3")], bank[loaded.patients.index("4")])


def test_a_render_is_the_same_alone_and_again(maps):
    loaded = maps(preset("spine", spacing_mm=SPACING_MM))
    image, codes = loaded.rendered(everything(loaded), loaded.config)
    alone, code = loaded.rendered(torch.tensor([4]), loaded.config)
    assert torch.equal(alone, image[4:5]) and torch.equal(code, codes[4:5])


def test_only_the_contrast_differs_along_the_continuum(maps):
    loaded = maps(preset("spine", spacing_mm=SPACING_MM))
    configs = between_t1_and_t2(loaded.config, 3)
    assert list(configs) == [0.0, 0.5, 1.0]
    renders = [loaded.rendered(torch.tensor([1, 5]), config) for config in configs.values()]
    field_of_view = [codes == 255 for _, codes in renders]
    assert torch.equal(field_of_view[0], field_of_view[2])
    assert not torch.equal(renders[0][0], renders[2][0])


def test_fluid_brightens_from_t1_to_t2(maps):
    loaded = maps()
    for configs in (between_t1_and_t2(PLAIN, 2), by_physics(PLAIN)):
        levels = []
        for value in (0.0, 1.0):
            image, codes = loaded.rendered(everything(loaded), configs[value])
            levels.append(image[:, 0][codes == CANAL].mean().item())
        assert levels[1] > levels[0] + 0.15


def test_each_protocol_is_drawn_alone(maps):
    loaded = maps()
    configs = by_physics(PLAIN)
    assert list(configs) == list(range(len(PROTOCOLS)))
    assert len(set(map(config_hash, configs.values()))) == len(PROTOCOLS)
    pictures = [loaded.rendered(torch.tensor([0]), config)[0] for config in configs.values()]
    assert not torch.equal(pictures[1], pictures[2])


def test_identity_follows_the_configuration(maps):
    first, again = maps(), maps()
    other = maps(replace(PLAIN, slice_spacing_mm=5.0))
    assert first.identity_hash == again.identity_hash != other.identity_hash
