"""What looks like input is read, or listed with the reason."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.readers.folder import NotUsedError, SpiderError, files_below, reason_of
from synthspine.shards.readers.layouts import series_of
from synthspine.shards.readers.spider import read_image, read_mask, write_like, write_mha
from synthspine.shards.reading.open import open_set

SPACING_MM = (4.0, 2.0, 1.5)


def every_patient(folder):
    """A split file with all patients of a folder in the training."""
    stems = {path.name.partition("_")[0] for path in folder.rglob("*_t*")}
    path = folder.parent / "split.json"
    path.write_text(json.dumps({"train": sorted(stems)}))
    return path


def unused(folder):
    found = []
    series = series_of(folder, on_error=found.append)
    assert all(isinstance(error, NotUsedError) for error in found)
    return series, {error.path.relative_to(folder).as_posix(): error.reason for error in found}


def test_volumes_in_other_spellings_are_read(spider_folder):
    folder = spider_folder(3, images=False)
    masks = folder / "masks" / "masks"
    expected = {path.name: read_values(path) for path in sorted(masks.iterdir())}
    for number, (name, ending) in enumerate((("1_t1", ".nii"), ("2_t1", ".NII.GZ"), ("3_t1", ".MHA"))):
        reference = read_image(masks / f"{name}.mha").reference
        array = expected[f"{name}.mha"].astype(np.int16)
        (masks / f"{name}.mha").unlink()
        write_like(array, reference, masks / f"{name}{ending}")
        assert (read_values(masks / f"{name}{ending}") == array).all(), number
    series, left_out = unused(folder)
    assert [entry.stem for entry in series] == [f"{n}_{c}" for n in (1, 2, 3) for c in ("t1", "t2")]
    assert not left_out


def read_values(path):
    return read_image(path).array


def test_what_cannot_be_read_is_listed_with_the_reason(spider_folder):
    folder = spider_folder(2, images=False)
    masks = folder / "masks" / "masks"
    image = sitk.ReadImage(str(masks / "1_t1.mha"))
    sitk.WriteImage(image, str(masks / "4_t1.mhd"))
    (masks / "3_t1.nhdr").write_text("NRRD0004\n")
    (masks / "deeper").mkdir()
    shutil.copy(masks / "1_t1.mha", masks / "deeper" / "5_t1.mha")
    (masks / "6_t1.mha").symlink_to(folder / "nowhere.mha")
    (masks / "loop").symlink_to(folder / "masks")
    os.mkfifo(masks / "7_t1.mha")
    (masks / "notes.txt").write_text("not a volume")
    series, left_out = unused(folder)
    assert len(series) == 4
    assert left_out == {
        "masks/masks/3_t1.nhdr": "cannot be read; convert it to .mha or .nii.gz",
        "masks/masks/4_t1.mhd": "cannot be read; convert it to .mha or .nii.gz",
        "masks/masks/deeper/5_t1.mha": left_out["masks/masks/deeper/5_t1.mha"],
        "masks/masks/6_t1.mha": "is a link to nothing",
        "masks/masks/7_t1.mha": "is no regular file",
        "masks/masks/loop": "is a link to a folder that holds it",
    }
    assert "is not used: spider expects" in left_out["masks/masks/deeper/5_t1.mha"]
    with pytest.warns(UserWarning, match=r"3_t1\.nhdr: cannot be read"):
        assert series_of(folder) == series


def test_linked_folders_are_followed(tmp_path, spider_folder):
    folder = spider_folder(2)
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    series, left_out = unused(folder)
    assert len(series) == 4 and all(entry.image for entry in series) and not left_out


def test_a_folder_that_may_not_be_listed_is_told(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.mha").touch()
    list_folder = type(tmp_path).iterdir

    def refuse(path):
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(type(tmp_path), "iterdir", refuse)
    errors = []
    assert files_below(tmp_path, errors.append) == [tmp_path / "a.mha"]
    assert [str(error) for error in errors] == [f"{tmp_path / 'closed'}: cannot be listed: Permission denied"]


def test_label_maps_that_become_fewer_are_named(spider_folder, options, capsys):
    folder = spider_folder(4)
    masks = folder / "masks" / "masks"
    values = read_values(masks / "2_t1.mha")
    write_mha(np.where(values > 200, values, 0).astype(np.int16), SPACING_MM, "LPS", masks / "2_t1.mha")
    (masks / "3_t1.mha").rename(masks / "3_t1.gipl")
    split = every_patient(folder)
    place = ensure_sets(["labels"], options(folder, split=split))["labels"]
    assert {sample.record["source"] for sample in open_set(place).samples()} == {
        f"{n}_{c}" for n in (1, 2, 3, 4) for c in ("t1", "t2")
    } - {"2_t1", "3_t1"}
    printed = capsys.readouterr().out
    assert "left out: 2_t1 (no slice holds vertebrae and canal)" in printed
    assert f"left out: {masks / '3_t1.gipl'}: cannot be read; convert it to .mha or .nii.gz" in printed
    assert f"left out: {folder / 'images' / 'images' / '3_t1.mha'}: has no mask" in printed


def test_label_maps_of_which_none_is_left_are_an_error(spider_folder, options):
    folder = spider_folder(2, images=False)
    for path in (folder / "masks" / "masks").iterdir():
        values = read_values(path)
        write_mha(np.where(values > 200, values, 0).astype(np.int16), SPACING_MM, "LPS", path)
    with pytest.raises(
        SpiderError, match=r"none of 4 label maps can be used \(1_t1: no slice holds vertebrae"
    ):
        ensure_sets(["labels"], options(folder, split=every_patient(folder)))


def test_a_spacing_that_is_told_is_used_for_images_and_masks(spider_folder, options):
    folder = spider_folder(1)
    for path in folder.rglob("*.mha"):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"ElementSpacing", b"Comment", 1))
    split = every_patient(folder)
    with pytest.raises(SpiderError, match="gives no voxel size; tell it with --spacing-mm Z Y X"):
        ensure_sets(["real_t1_train"], options(folder, split=split))
    chosen = options(folder, split=split, volume_spacing_mm=SPACING_MM)
    shards = open_set(ensure_sets(["real_t1_train"], chosen)["real_t1_train"])
    assert all(sample.record["spacing_mm"] == list(SPACING_MM) for sample in shards.samples())
    assert len(shards) and shards.manifest.identity["sources"][0]["spacing_mm"] == list(SPACING_MM)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (4.0, -1.0, 1.0), (4.0, float("nan"), 1.0)])
def test_an_impossible_spacing_is_refused_at_once(tmp_path, options, spacing):
    with pytest.raises(ValueError, match=r"spacing_mm .* must be three positive numbers"):
        options(tmp_path, volume_spacing_mm=spacing)


def test_a_mask_that_lies_elsewhere_is_refused_and_a_shift_is_said(spider_folder, options, capsys):
    folder = spider_folder(1)
    mask = folder / "masks" / "masks" / "1_t1.mha"
    image = sitk.ReadImage(str(mask))
    image.SetOrigin((0.0, 12.0, 0.0))
    sitk.WriteImage(image, str(mask), True)
    chosen = options(folder, split=every_patient(folder))
    ensure_sets(["real_t1_train"], chosen)
    assert f"{mask}: lies 12 mm away from its image" in capsys.readouterr().out
    image.SetOrigin((0.0, 120.0, 0.0))
    sitk.WriteImage(image, str(mask), True)
    with pytest.raises(SpiderError, match=r"1_t1\.mha: does not lie on its image: it does not overlap it"):
        ensure_sets(["real_t1_train"], options(folder, split=chosen.split, rebuild=True))


def test_the_useful_line_of_an_error_is_kept():
    text = "Exception thrown in SimpleITK ImageFileReader_Execute: /tmp/reader.cxx:97:\n"
    text += "sitk::ERROR: Unable to determine ImageIO reader for 'a'"
    assert reason_of(RuntimeError(text)) == "Unable to determine ImageIO reader for 'a'"
    text = "\nITK ERROR: ImageFileReader(0x55d0): Could not create IO object\nThe file"
    assert reason_of(RuntimeError(text)) == "Could not create IO object"
    assert reason_of(RuntimeError("\n\n the reason\nmore")) == "the reason"
    assert reason_of(RuntimeError()) == "RuntimeError"
    assert reason_of(OSError(27, "File too large", "a.mha")) == "a.mha: File too large"


def test_a_name_that_is_no_text_is_told(tmp_path, spider_folder):
    folder = spider_folder(1)
    place = folder / "masks" / "masks"
    os.link(place / "1_t1.mha", os.fsencode(place) + b"/2_t1\xe4.mha")
    with pytest.raises(SpiderError, match=r"2_t1\\udce4\.mha: the name is not text in UTF-8; rename it"):
        series_of(folder)
    told = []
    assert {series.stem for series in series_of(folder, on_error=told.append)} == {"1_t1", "1_t2"}
    assert [error.reason for error in told] == ["the name is not text in UTF-8; rename it"]
    with pytest.raises(SpiderError, match="not text in UTF-8"):
        read_image(place / "2_t1\udce4.mha")
    with pytest.raises((OSError, SpiderError), match="not text in UTF-8"):
        write_like(
            read_values(place / "1_t1.mha"), read_image(place / "1_t1.mha").reference, tmp_path / "\udce4.mha"
        )


def test_values_beyond_32_bits_are_refused_without_a_warning(tmp_path):
    path = tmp_path / "1_t1.mha"
    values = np.ones((2, 20, 20))
    values[0, 0, 0] = 1e300
    write_mha(values, SPACING_MM, "LPS", path)
    with warnings.catch_warnings(), pytest.raises(SpiderError, match="or too large for 32 bits"):
        warnings.simplefilter("error")
        read_image(path)
    with warnings.catch_warnings(), pytest.raises(SpiderError, match="holds fractions"):
        warnings.simplefilter("error")
        read_mask(path)
