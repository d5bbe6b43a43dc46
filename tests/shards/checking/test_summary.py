import json
from pathlib import Path

import numpy as np
import pytest
from handmade import edit_manifest
from PIL import Image

from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import STRUCTURE_COLOURS
from synthspine.gen.presets import preset
from synthspine.shards.checking.contact_sheet import write_contact_sheet
from synthspine.shards.checking.overlay import code_colours, coloured
from synthspine.shards.checking.summary import inspect_set, shares, survey
from synthspine.shards.format.manifest import VERSION, Manifest, ShardEntry, save_manifest
from synthspine.shards.format.sample import Sample, ShardError, sample_key
from synthspine.shards.format.tar import pack
from synthspine.shards.storage.opening import open_place

SHAPE = (48, 32)


def sample_of(index, images=True):
    label = np.zeros(SHAPE, np.uint8)
    label[:12], label[12:24], label[24:30], label[30:36] = 255, 1 + index % 2, 31, 60
    image = np.full(SHAPE, index / 16, np.float16) if images else None
    record = {
        "source": f"{index // 4}_t1",
        "patient": str(index // 4),
        "slice": index % 4,
        "contrast": "t2" if index % 3 == 0 else "t1",
        "slices": 4,
        "spacing_mm": [4.0, 1.0, 1.0],
    }
    return Sample(sample_key(index), image, label, record)


@pytest.fixture
def build(tmp_path):
    """Writes a set by hand."""

    def make(count=12, images=True, name="real_t1_val", **identity):
        folder = open_place(tmp_path / name)
        entries = []
        for number, start in enumerate(range(0, count, 2)):
            packed = pack(sample_of(index, images) for index in range(start, min(start + 2, count)))
            file = f"shard-{number:06d}.tar"
            folder.write(file, packed.content)
            held = len(packed.label_digests)
            entries.append(
                ShardEntry(name=file, samples=held, bytes=len(packed.content), sha256=packed.sha256)
            )
        manifest = Manifest(
            name=name,
            samples=count,
            phantom=True,
            identity={"version": VERSION, "set": name, "samples_per_shard": 2} | identity,
            made_with={"torch": "2.13", "device": "cpu"},
            label_digest="a" * 64,
            left_out=[{"source": "9_t1", "reason": "no mask"}],
            shards=tuple(entries),
        )
        save_manifest(folder, manifest)
        return folder.path

    return make


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Sheets go below the working folder unless their place is named."""
    monkeypatch.chdir(tmp_path)


def printed(capsys):
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:15].strip()]
    return {line[:15].strip(): line[15:].strip() for line in lines}


def test_the_summary_lists_the_content_of_a_set(build, capsys):
    inspect_set(build(grid={"spacing_mm": 1.0, "shape": list(SHAPE)}))
    reported = printed(capsys)
    assert reported["set"] == "real_t1_val, made from the phantom"
    assert reported["samples"].startswith("12 in 6 shards of 2, ") and reported["format"].endswith(
        "version 2"
    )
    assert reported["grid"] == "48 x 32 pixels of 1 mm" and reported["label digest"] == "a" * 64
    assert reported["sheet"] == "results/shards/real_t1_val.png" and Path(reported["sheet"]).is_file()
    assert reported["made with"] == "device cpu, torch 2.13" and reported["left out"] == "9_t1: no mask"
    assert reported["counted over"] == "all samples"
    assert reported["patients"] == "3" and reported["contrasts"] == "t1 8, t2 4"
    assert (
        reported["pixels"] == "background 25.0%, vertebra 25.0%, disc 12.5%, canal 12.5%, not annotated 25.0%"
    )
    assert reported["vertebrae"] == "rank 1, 2" and reported["discs"] == "rank 1"
    assert reported["image values"] == "mean 0.344, standard deviation 0.216"


def test_the_preset_of_a_rendered_set_is_named(build, capsys):
    grid = {"spacing_mm": 2.0, "shape": list(SHAPE)}
    generator = config_hash(preset("t2", spacing_mm=2.0))
    inspect_set(build(grid=grid, seed=3, label_bank="b" * 64, generator_hash=generator))
    reported = printed(capsys)
    assert reported["generator"] == f"preset t2, {generator}"
    assert reported["label bank"] == "b" * 64 and reported["seed"] == "3"
    inspect_set(build(generator_hash="c" * 64))
    assert printed(capsys)["generator"].startswith("no preset of this version")


def test_only_shards_with_chosen_samples_are_read(build, capsys):
    folder = build()
    for number in (0, 2, 3, 5):
        (folder / f"shard-{number:06d}.tar").unlink()
    found = survey(folder, samples=2)
    assert [sample.key for sample in found.chosen] == ["00000003", "00000009"] and found.seen == 4
    inspect_set(folder, samples=2)
    assert printed(capsys)["counted over"].startswith("4 of 12 samples")


@pytest.mark.parametrize("samples", [1, 5, 12, 100])
def test_samples_are_spread_over_the_set(build, samples):
    keys = [int(sample.key) for sample in survey(build(), samples).chosen]
    assert len(keys) == min(samples, 12) and keys == sorted(set(keys))
    gaps = np.diff([-keys[0] - 1, *keys, 24 - keys[-1] - 1])
    assert gaps.max() - gaps.min() <= 2


def test_a_damaged_shard_is_named(build):
    folder = build()
    path = folder / "shard-000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"shard-000001\.tar: is damaged .*samples 00000002 to 00000003"):
        survey(folder)
    path.unlink()
    with pytest.raises(ShardError, match=r"shard-000001\.tar: is missing"):
        survey(folder)


def test_a_folder_of_sets_is_not_a_set(build):
    folder = build()
    build(name="labels", images=False)
    with pytest.raises(ShardError, match="choose one of them: labels, real_t1_val"):
        survey(folder.parent)
    with pytest.raises(ValueError, match="samples 0"):
        survey(folder, samples=0)


def test_an_empty_set_has_a_summary_but_no_sheet(build, tmp_path, capsys):
    inspect_set(build(0), tmp_path / "sheet.png")
    assert not {"pixels", "sheet"} & printed(capsys).keys()
    assert not (tmp_path / "sheet.png").exists()


def test_shares_of_structures():
    codes = np.zeros(256, np.int64)
    codes[[0, 3, 33, 60, 255]] = 5, 1, 1, 1, 2
    assert list(shares(codes).values()) == [0.5, 0.1, 0.1, 0.1, 0.2]


@pytest.mark.parametrize("images", [True, False])
def test_a_sheet_shows_the_chosen_samples(build, tmp_path, capsys, images):
    inspect_set(build(images=images), tmp_path / "new" / "sheet.png", samples=6)
    assert printed(capsys)["sheet"] == str(tmp_path / "new" / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "new" / "sheet.png"))
    canal = (sheet == STRUCTURE_COLOURS["canal"]).all(axis=-1).any(axis=0)
    tiles = int((np.diff(canal.astype(int)) == 1).sum())
    assert tiles >= 3 and sheet.ndim == 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sheet.png"]


def test_colours_come_from_the_table_of_structures():
    table = code_colours()
    assert tuple(table[1]) == STRUCTURE_COLOURS["vertebra"] and tuple(table[31]) == STRUCTURE_COLOURS["disc"]
    assert tuple(table[60]) == STRUCTURE_COLOURS["canal"]
    assert tuple(table[6]) == tuple(table[25]) != tuple(table[5])
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 60
    plain = np.full(label.shape, 0.5, np.float16)
    picture = coloured(label, plain)
    assert (picture[0, 0] == 128).all() and tuple(picture[10, 15]) == STRUCTURE_COLOURS["canal"]
    assert tuple(coloured(label)[20, 20]) == STRUCTURE_COLOURS["canal"] != tuple(picture[20, 20])


def test_a_sheet_is_a_png(tmp_path):
    with pytest.raises(ValueError, match=r"sheet\.jpg: the sheet is a PNG"):
        write_contact_sheet([sample_of(0)], tmp_path / "sheet.jpg", "")


def test_a_summary_needs_no_entry_of_a_record(build, tmp_path):
    folder = build(2)
    packed = pack([Sample(sample_key(i), None, np.zeros(SHAPE, np.uint8), {}) for i in range(2)])
    open_place(folder).write("shard-000000.tar", packed.content)
    fields = json.loads((folder / "manifest.json").read_text())
    fields["shards"][0] |= {"bytes": len(packed.content), "sha256": packed.sha256}
    edit_manifest(folder, shards=fields["shards"])
    inspect_set(folder, tmp_path / "sheet.png")
