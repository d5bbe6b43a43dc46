"""nnU-Net raw datasets: from the folder to the sets."""

import json

import pytest

from synthspine.gen.core.anatomy import SACRUM
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.checking.summary import survey
from synthspine.shards.checking.verify import verify_places
from synthspine.shards.readers.folder import SpiderError
from synthspine.shards.readers.layouts import LAYOUTS, series_of
from synthspine.shards.readers.levels import dense_codes
from synthspine.shards.reading.open import open_set


def change(folder, **entries):
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(content | entries))


def patients(place):
    return {sample.record["patient"] for sample in open_set(place).samples()}


def test_every_image_is_a_series_with_the_contrast_of_its_channel(nnunet_folder):
    series = series_of(nnunet_folder(("mr_T1w", "T2"), cases=2))
    found = [(s.stem, s.patient, s.contrast, s.image.name, s.mask.name) for s in series]
    assert found[:2] == [
        ("spine_001_0000", "spine_001", "t1", "spine_001_0000.nii.gz", "spine_001.nii.gz"),
        ("spine_001_0001", "spine_001", "t2", "spine_001_0001.nii.gz", "spine_001.nii.gz"),
    ]
    assert len(found) == 4


def test_label_names_become_dense_codes(nnunet_folder, spine_mask):
    series = series_of(nnunet_folder(cases=2))[0]
    codes = LAYOUTS["nnunet"].read_mask(series).array
    expected = dense_codes(spine_mask(4))
    expected[1:-1, -5:, 16:26] = SACRUM
    assert (codes == expected).all()


def test_images_and_masks_go_through_all_sets(nnunet_folder, options, capsys):
    folder = nnunet_folder(cases=6)
    names = ["labels", "labels_val", "real_t1_train", "real_t1_val", "real_t2_val"]
    paths = ensure_sets(names, options(folder))
    assert f"{folder}: 12 series in the layout nnunet" in capsys.readouterr().out
    assert all(open_set(paths[name]).manifest.samples for name in names)
    assert patients(paths["labels"]) == patients(paths["real_t1_train"])
    assert patients(paths["labels_val"]) == patients(paths["real_t2_val"])
    assert all(patient.startswith("spine_00") for patient in patients(paths["labels"]))
    # The two images of a case share a mask, which is one label map.
    samples = [(s.record["patient"], s.record["slice"]) for s in open_set(paths["labels"]).samples()]
    assert len(samples) == len(set(samples))
    assert SACRUM in next(iter(open_set(paths["real_t1_val"]).samples())).label
    verify_places([paths[name].path for name in names])


def test_label_maps_of_nnunet_serve_beside_images_of_spider(nnunet_folder, spider_folder, options, capsys):
    chosen = options(spider_folder(6), labels_dir=nnunet_folder(channels=(), cases=6))
    paths = ensure_sets(["labels", "real_t1_train"], chosen)
    printed = capsys.readouterr().out
    assert "6 series in the layout nnunet" in printed and "12 series in the layout spider" in printed
    samples = list(open_set(paths["labels"]).samples())
    assert samples and all(sample.record["contrast"] is None for sample in samples)
    assert {sample.record["patient"] for sample in samples} <= {f"spine_{n:03d}" for n in range(1, 7)}
    verify_places([paths["labels"].path])
    assert survey(paths["labels"]).contrasts.keys() == {"unknown"}


def test_images_without_a_known_contrast_give_label_maps_alone_and_that_is_said(
    nnunet_folder, options, capsys
):
    paths = ensure_sets(["labels", "real_t1_train"], options(nnunet_folder(channels=("MRI",), cases=4)))
    assert "4 images have no known contrast (T1, T2) and are not used" in capsys.readouterr().out
    assert (
        open_set(paths["labels"]).manifest.samples and not open_set(paths["real_t1_train"]).manifest.samples
    )


def test_other_label_names_change_the_set(nnunet_folder, options):
    folder = nnunet_folder(cases=3)
    ensure_sets(["labels"], options(folder))
    (folder / "synthspine_labels.json").write_text('{"sacrum": "ignore"}')
    with pytest.raises(ValueError, match="was made with other"):
        ensure_sets(["labels"], options(folder))


def test_the_sources_of_spider_sets_are_described_as_before(spider_folder, options):
    paths = ensure_sets(["labels"], options(spider_folder(3)))
    sources = open_set(paths["labels"]).manifest.identity["sources"]
    assert all(set(source) == {"source", "mask", "image"} for source in sources)


def test_an_unknown_label_name_is_an_error_unless_it_is_mapped(nnunet_folder):
    folder = nnunet_folder(cases=1)
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    change(folder, labels=labels | {"kidney": 11, "fifth": 12})
    message = (
        r"dataset\.json: label name 'kidney' is not understood; understood are .*synthspine_labels\.json can"
    )
    with pytest.raises(SpiderError, match=message):
        series_of(folder)
    (folder / "synthspine_labels.json").write_text('{"kidney": "ignore", "fifth": "T12"}')
    assert series_of(folder)
    (folder / "synthspine_labels.json").write_text('{"spleen": "ignore"}')
    with pytest.raises(SpiderError, match=r"synthspine_labels\.json: 'spleen' is not a label"):
        series_of(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"labels": {"background": 0, "L5": 1, "vertebra L5": 2}},
            "1 .'L5'. and 2 .'vertebra L5'. mean the same",
        ),
        ({"labels": {"background": 0, "L5": 1, "L4": 1}}, "'L5' and 'L4' have one value, 1"),
        ({"labels": {"L5": 1}}, "no label value is called background"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, r"label 'whole' is \[1, 2\]; one whole number"),
        ({"labels": ["background"]}, 'has no object "labels"'),
        ({"channel_names": None}, 'has no object "channel_names"'),
        ({"channel_names": {"first": "T2"}}, "channel_names has the key 'first'; want a number"),
        ({"file_ending": ".png"}, r"file_ending is '\.png'; \.mha or \.nii\.gz can be read"),
    ],
)
def test_a_malformed_description_is_named(nnunet_folder, entries, message):
    folder = nnunet_folder(cases=1)
    change(folder, **entries)
    with pytest.raises(SpiderError, match=rf"dataset\.json: .*{message}"):
        series_of(folder)


def test_a_file_that_is_not_json_is_named(nnunet_folder):
    folder = nnunet_folder(cases=1)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(SpiderError, match=r"dataset\.json: cannot be read as JSON"):
        series_of(folder)


def test_an_image_of_an_unknown_channel_is_named_or_left_out(nnunet_folder):
    folder = nnunet_folder(cases=1)
    image = folder / "imagesTr/spine_001_0000.nii.gz"
    image.rename(folder / "imagesTr/spine_001_0007.nii.gz")
    with pytest.raises(SpiderError, match=r"0007\.nii\.gz: .*expected CASE_0000\.nii\.gz \(T1\), CASE_0001"):
        series_of(folder)
    errors = []
    assert [s.stem for s in series_of(folder, on_error=errors.append)] == ["spine_001_0001"]
    assert len(errors) == 1


def test_a_value_that_is_not_described_is_named(nnunet_folder):
    folder = nnunet_folder(cases=1)
    change(folder, labels={"background": 0, "L5": 1})
    with pytest.raises(
        SpiderError, match=r"spine_001\.nii\.gz: label 2 is not a Dataset007_Spine/dataset\.json value"
    ):
        LAYOUTS["nnunet"].read_mask(series_of(folder)[0])
