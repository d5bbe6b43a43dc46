import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from counted import joined

from synthspine.gen import Params, preset, render
from synthspine.gen.core.anatomy import IGNORE
from synthspine.shards.building import build, series_samples
from synthspine.shards.building.names import SETS, TEST_SETS
from synthspine.shards.building.series_samples import SeriesSamples
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.manifest import MANIFEST, label_digest
from synthspine.shards.format.sample import ShardError
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.slices import chosen_slices
from synthspine.shards.readers.spider import write_mha
from synthspine.shards.reading.open import open_set

FROM_FILES = tuple(name for name in SETS if name != "synthetic")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def times_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}


def patients_of(place) -> set[str]:
    return {sample.record["patient"] for sample in open_set(place).samples()}


def test_all_sets_are_written_with_their_parts_and_contrasts(spider_folder, options):
    chosen = options(spider_folder(8))
    paths = ensure_sets(SETS, chosen)
    assert list(paths) == list(SETS)
    assert {path.name for path in paths["real_t2_val"].path.iterdir()} == {
        MANIFEST,
        "shard-000000.tar",
        "shard-000001.tar",
    }
    for name, contrasts in {
        "labels": {"t1", "t2"},
        "labels_val": {"t1", "t2"},
        "real_t1_train": {"t1"},
        "real_t1_val": {"t1"},
        "real_t2_val": {"t2"},
        "real_t2_space_val": set(),
    }.items():
        samples = list(open_set(paths[name]).samples())
        assert {sample.record["contrast"] for sample in samples} == contrasts
        assert all((sample.image is not None) == name.startswith("real") for sample in samples)
        assert all(sample.label.shape == (64, 48) for sample in samples)
    train, val = patients_of(paths["labels"]), patients_of(paths["labels_val"])
    assert not train & val
    assert patients_of(paths["real_t1_train"]) == train == patients_of(paths["synthetic"]) | train
    assert patients_of(paths["real_t1_val"]) == patients_of(paths["real_t2_val"]) == val


def test_a_record_holds_the_source_of_a_sample(spider_folder, options):
    sample = next(open_set(ensure_sets(["real_t1_val"], options(spider_folder()))["real_t1_val"]).samples())
    assert sample.record["source"] == f"{sample.record['patient']}_t1"
    assert sample.record["spacing_mm"] == [4.0, 2.0, 1.5]
    # The first and the last of the five slices are empty.
    assert sample.record["slice"] == 1 and sample.record["slices"] == 5
    assert 0 <= sample.image.min() < sample.image.max() <= 1
    # 48 columns of 1.5 mm fill 36 of the grid's 48 columns.
    assert (sample.label[:, :6] == IGNORE).all() and (sample.label[2:-2, 6:-6] != IGNORE).all()


def test_a_second_run_writes_nothing(spider_folder, options, capsys):
    chosen = options(spider_folder())
    ensure_sets(SETS, chosen)
    before = times_of(chosen.place.path)
    assert "wrote" in capsys.readouterr().out
    ensure_sets(SETS, chosen)
    assert times_of(chosen.place.path) == before
    assert "wrote" not in capsys.readouterr().out


def test_two_ranks_write_the_same_bytes_as_one(spider_folder, options, tmp_path):
    data = spider_folder(8)
    alone = options(data)
    ensure_sets(SETS, alone)
    together = replace(alone, shards_dir=str(tmp_path / "together"))
    errors = joined(2, lambda workers: ensure_sets(SETS, together, workers))
    assert not errors
    assert files_of(together.place.path) == files_of(alone.place.path)


@pytest.mark.parametrize("module", [series_samples, build])
@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_an_interrupted_run_is_continued_with_the_same_bytes(
    spider_folder, options, tmp_path, monkeypatch, module, survivors
):
    data = spider_folder()
    whole = options(data)
    ensure_sets(["labels"], whole)
    cut = replace(whole, shards_dir=str(tmp_path / "cut"))
    real, written = module.write_shard, []

    def failing(place, name, samples):
        if len(written) >= survivors:
            raise KeyboardInterrupt
        packed = real(place, name, samples)
        written.append(place.path / name)
        return packed

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_shard", failing)
        with pytest.raises(KeyboardInterrupt):
            ensure_sets(["labels"], cut)
    with pytest.raises(ShardError, match="no complete set"):
        open_set(cut.place / "labels")
    kept = {path: path.stat().st_mtime_ns for path in written}
    assert all(path.is_file() for path in kept)
    resumed = []
    with monkeypatch.context() as patch:
        patch.setattr(
            module,
            "write_shard",
            lambda place, name, s: resumed.append(place.path / name) or real(place, name, s),
        )
        ensure_sets(["labels"], cut)
    assert not set(resumed) & set(kept)
    assert files_of(cut.place.path) == files_of(whole.place.path)


def test_shards_of_another_staged_set_are_not_used(spider_folder, options, monkeypatch):
    data = spider_folder()
    chosen = options(data)
    folder = chosen.place.path / "labels"
    folder.mkdir(parents=True)
    (folder / "shard-000000.tar").write_bytes(b"left by something else")
    (folder / ".tmp-1-shard-000001.tar").write_bytes(b"left by a killed run")
    ensure_sets(["labels"], chosen)
    assert open_set(folder).read().labels.any()
    assert not list(folder.glob(".tmp-*"))


def test_masks_alone_give_labels_and_synthetic_samples(spider_folder, options):
    chosen = options(spider_folder(images=False))
    paths = ensure_sets(SETS, chosen)
    assert len(open_set(paths["labels"])) and len(open_set(paths["synthetic"])) == 7
    assert len(open_set(paths["real_t1_train"])) == 0


def test_space_series_give_label_maps_and_a_validation_set_of_their_own(spider_folder, options):
    data = spider_folder()
    for kind in ("images", "masks"):
        for path in (data / kind / kind).glob("*_t2.mha"):
            path.rename(path.with_name(path.name.replace("_t2", "_t2_SPACE")))
    paths = ensure_sets(FROM_FILES, options(data))
    contrasts = {sample.record["contrast"] for sample in open_set(paths["labels"]).samples()}
    assert contrasts == {"t1", "t2_SPACE"}
    assert len(open_set(paths["real_t2_val"])) == 0
    space = list(open_set(paths["real_t2_space_val"]).samples())
    assert {sample.record["contrast"] for sample in space} == {"t2_SPACE"}
    assert {sample.record["patient"] for sample in space} == patients_of(paths["real_t1_val"])
    assert all(sample.image is not None for sample in space)
    train = json.loads(Path(options(data).split_file).read_text())["train"]
    assert not {sample.record["patient"] for sample in space} & set(train)


def test_one_split_serves_images_and_label_maps_of_another_folder(spider_folder, options):
    data, labels = spider_folder(6), spider_folder(12, "labels", images=False)
    chosen = options(data, labels_dir=labels)
    paths = ensure_sets(["labels", "labels_val"], chosen)
    paths |= ensure_sets(["real_t1_train", "real_t1_val", "real_t2_val"], chosen)
    assert not patients_of(paths["labels"]) & patients_of(paths["real_t1_val"])
    assert not patients_of(paths["labels_val"]) & patients_of(paths["real_t1_train"])
    assert len(patients_of(paths["labels"])) == 9


def test_a_new_split_is_cut_over_all_patients_even_those_not_read_yet(spider_folder, options):
    data, labels = spider_folder(12), spider_folder(6, "labels", images=False)
    chosen = options(data, labels_dir=labels)
    ensure_sets(["labels"], chosen)
    assert sum(len(ids) for ids in json.loads(Path(chosen.split_file).read_text()).values()) == 12


def test_an_existing_split_file_is_used(spider_folder, options, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"train": ["1"], "validation": ["2", "3"], "test": ["4", "5", "6"]}')
    paths = ensure_sets(FROM_FILES, options(spider_folder(6), split=path))
    assert patients_of(paths["labels"]) == {"1"}
    assert patients_of(paths["real_t2_val"]) == {"2", "3"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"slice_step_mm": 8.0}, "slice_step_mm"),
        ({"samples_per_shard": 6}, "samples_per_shard"),
    ],
)
def test_a_set_made_with_other_options_is_not_used_silently(spider_folder, options, change, named):
    chosen = options(spider_folder())
    ensure_sets(["labels"], chosen)
    other = replace(chosen, **change)
    with pytest.raises(ShardError, match=rf"labels: was made with other {named}.*--rebuild"):
        ensure_sets(["labels"], other)
    ensure_sets(["labels"], replace(other, rebuild=True))
    ensure_sets(["labels"], other)


def test_a_changed_mask_is_noticed(spider_folder, options, spine_mask):
    data = spider_folder()
    chosen = options(data)
    ensure_sets(["labels", "labels_val"], chosen)
    for path in (data / "masks" / "masks").iterdir():
        write_mha(spine_mask(2), (4.0, 2.0, 1.5), "LPS", path)
    with pytest.raises(ShardError, match="was made with other sources"):
        ensure_sets(["labels"], chosen)


def test_synthetic_samples_follow_the_label_bank(spider_folder, options):
    chosen = options(spider_folder())
    ensure_sets(["synthetic"], chosen)
    with pytest.raises(ShardError, match="synthetic: was made with other seed"):
        ensure_sets(["synthetic"], replace(chosen, seed=1))


def test_a_synthetic_sample_can_be_rendered_again_from_its_record(spider_folder, options):
    chosen = options(spider_folder())
    paths = ensure_sets(["synthetic"], chosen)
    bank = torch.from_numpy(open_set(paths["labels"]).read().labels)
    samples = list(open_set(paths["synthetic"]).samples())
    assert [sample.record["index"] for sample in samples] == list(range(7))
    params = Params.from_records([samples[4].record["params"]])
    image, codes = render(bank, params)
    assert (image[0, 0].half().numpy() == samples[4].image).all()
    assert (codes[0].numpy() == samples[4].label).all()
    source = open_set(paths["labels"]).read().records[int(params.map_index[0])]
    assert samples[4].record["source"] == source["source"]
    assert samples[4].record["patient"] == source["patient"]


def test_side_slices_are_kept_as_label_maps_and_rendered_in_their_share(spider_folder, options):
    chosen = options(spider_folder(), synthetic_samples=200, samples_per_shard=64)
    paths = ensure_sets(["synthetic", "labels_val", "real_t1_val"], chosen)
    # The first and the last of the five slices show nothing.
    for name, slices in {
        "labels": {0, 1, 2, 3, 4},
        "labels_val": {0, 1, 2, 3, 4},
        "real_t1_val": {1, 2, 3},
    }.items():
        assert {sample.record["slice"] for sample in open_set(paths[name]).samples()} == slices
    shown = [sample.record["slice"] in (0, 4) for sample in open_set(paths["synthetic"]).samples()]
    assert 24 <= sum(shown) <= 58
    with pytest.raises(ShardError, match="synthetic: was made with other side_share"):
        ensure_sets(["synthetic"], replace(chosen, side_share=0.5))


def test_a_set_of_an_earlier_version_without_side_slices_is_used_until_it_is_rebuilt(
    spider_folder, options, monkeypatch, capsys
):
    chosen = options(spider_folder())
    identity = SeriesSamples.identity
    with monkeypatch.context() as earlier:
        choose = partial(chosen_slices, beside=False)
        earlier.setattr(series_samples, "chosen_slices", lambda *values, beside: choose(*values))
        earlier.setattr(SeriesSamples, "identity", lambda self: identity(self) | {"least_area_cm2": 5.0})
        place = ensure_sets(["labels"], chosen)["labels"]
    before = len(open_set(place))
    ensure_sets(["labels"], chosen)
    assert "labels: holds no slices beside the spine; --rebuild adds them" in capsys.readouterr().out
    assert len(open_set(place)) == before
    ensure_sets(["labels"], replace(chosen, rebuild=True))
    assert len(open_set(place)) == before * 5 // 3


def test_the_generator_is_set_to_the_grid(spider_folder, options):
    chosen = options(spider_folder())
    paths = ensure_sets(["synthetic"], chosen)
    record = next(open_set(paths["synthetic"]).samples()).record
    assert record["params"]["spacing_mm"] == [2.0, 2.0] != [preset("spine").spacing_mm] * 2


def test_the_manifest_holds_the_digest_of_the_labels(spider_folder, options):
    shards = open_set(ensure_sets(["labels"], options(spider_folder()))["labels"])
    digests = [sample.record["sha256"]["label.npy"] for sample in shards.samples()]
    assert shards.manifest.label_digest == label_digest(digests) != label_digest(reversed(digests))


def test_an_unknown_set_is_named(options, tmp_path):
    with pytest.raises(ShardError, match="no set is called real_t3"):
        ensure_sets(["real_t3"], options(tmp_path))


def test_a_missing_data_folder_is_an_error_unless_it_is_the_default(options, tmp_path):
    with pytest.raises(SpiderError, match="nowhere: no such folder"):
        ensure_sets(["labels"], options(tmp_path / "nowhere"))


def test_a_missing_folder_of_label_maps_is_an_error(spider_folder, options, tmp_path):
    with pytest.raises(SpiderError, match="nowhere: no such folder"):
        ensure_sets(["labels"], options(spider_folder(), labels_dir=tmp_path / "nowhere"))


def test_a_held_out_patient_is_in_no_set_and_the_split_file_stays_as_it_is(
    spider_folder, options, tmp_path, capsys
):
    path = tmp_path / "mine.json"
    path.write_text('{"train": ["1", "2"], "validation": ["3"]}')
    chosen = options(spider_folder(4), split=path)
    with pytest.raises(SpiderError, match=r"mine\.json: no part names the patients 4"):
        ensure_sets(["labels"], replace(chosen, strict=True))
    places = ensure_sets([*FROM_FILES, *TEST_SETS], chosen)
    assert set().union(*map(patients_of, places.values())) == {"1", "2", "3"}
    assert path.read_text() == '{"train": ["1", "2"], "validation": ["3"]}'
    assert not (tmp_path / "shards" / "split.json").exists()
    assert "mine.json: no part names the patients 4 (1 of 4): they are in no set\n" in capsys.readouterr().out


def test_a_split_file_that_does_not_exist_is_not_written(spider_folder, options, tmp_path):
    with pytest.raises(SpiderError, match=r"mine\.json: no such file"):
        ensure_sets(["labels"], options(spider_folder(4), split=tmp_path / "mine.json"))
    assert not (tmp_path / "mine.json").exists()
