import csv
import json

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, write_series

from synthspine.eval.prediction import prediction
from synthspine.eval.prediction.options import PredictOptions
from synthspine.eval.prediction.ownership import OwnershipError, is_own
from synthspine.eval.prediction.prediction import predict
from synthspine.eval.prediction.tables.colours import ITK_SNAP, SLICER, write_colour_tables
from synthspine.eval.prediction.tables.summary import SummaryRow, write_summary
from synthspine.eval.prediction.volumes import structure_volumes
from synthspine.gen.core.anatomy import CANAL, disc_code, spider_values, vertebra_code
from synthspine.gen.core.schemes import label_scheme

TABLES = ("summary.csv", "summary.json", SLICER, ITK_SNAP)


def rows_of(folder):
    return list(csv.DictReader((folder / "summary.csv").open()))


@pytest.fixture
def options(tmp_path, checkpoint, image_file):
    (tmp_path / "in").mkdir()
    image_file("in/1.mha")
    array = np.random.default_rng(0).integers(0, 1000, (4, 60, 50)).astype(np.int16)
    write_series(tmp_path / "in" / "study", array, uid="1.1", number="3", description="T1 sag")
    write_series(tmp_path / "in" / "study", array, uid="1.2", number="4", description="T2 ax", axes=AXIAL)
    (tmp_path / "in" / "broken.nrrd").write_text("text")
    return PredictOptions(
        images=(tmp_path / "in",), checkpoint=checkpoint, output_dir=tmp_path / "out", always=True
    )


def test_every_scan_of_a_run_has_a_row(tmp_path, options):
    list(predict(options))
    rows = {row["scan"].removeprefix(f"{tmp_path}/in").strip("/"): row for row in rows_of(options.output_dir)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "1.mha": "done",
        "study": "done",
        "study/4-T2-ax": "left out",
        "broken.nrrd": "failed",
    }
    study = rows["study"]
    assert (study["series_instance_uid"], study["series_description"]) == ("1.1", "T1 sag")
    assert study["mask"].endswith("study_3-T1-sag_seg.mha") and float(study["seconds"]) > 0
    assert "axial" in rows["study/4-T2-ax"]["reason"] and "NRRD" in rows["broken.nrrd"]["reason"]
    report = json.loads((options.output_dir / "study" / "study_3-T1-sag_seg.json").read_text())
    assert report["scan"] == str(tmp_path / "in" / "study")
    assert report["dicom"] == {"SeriesInstanceUID": "1.1", "SeriesDescription": "T1 sag", "files": 4}
    assert rows["1.mha"]["flags"].split() == [
        flag["name"] for flag in json.loads((options.output_dir / "1_seg.json").read_text())["flags"]
    ]
    assert all(is_own(options.output_dir / name) for name in TABLES)


def test_tables_of_a_run_are_replaced_only_as_long_as_they_are_the_programs_own(tmp_path, options):
    list(predict(options))
    before = rows_of(options.output_dir)
    list(predict(options))
    assert [row["scan"] for row in rows_of(options.output_dir)] == [row["scan"] for row in before]
    for name in TABLES:
        path = options.output_dir / name
        whole = path.read_bytes()
        path.write_bytes(whole + b"1 mine 0 0 0 0\n")
        # By a report that was changed its table is not known either.
        with pytest.raises(OwnershipError, match=name.replace("json", "csv")):
            list(predict(options))
        path.write_bytes(whole)


def test_volumes_and_heights_have_a_column_each(tmp_path):
    codes = np.zeros((3, 120, 60), dtype=np.uint8)
    codes[:, 50:70, 10:40], codes[:, 71:80, 10:40], codes[:, :, 45:55] = 1, disc_code(1), CANAL
    volumes = structure_volumes(
        codes, (4.0, 1.0, 1.0), label_scheme("structures"), heights={1: 20.0, disc_code(1): 9.04}
    )
    done = SummaryRow(scan="a", status="done", structures=tuple(volumes))
    write_summary(tmp_path, [done, SummaryRow(scan="b", status="failed", reason="broken, and so on")])
    first, second = rows_of(tmp_path)
    shown = {"vertebra_1_ml": "7.200", "vertebra_1_mm": "20.0", "disc_1_ml": "3.240", "disc_1_mm": "9.0"}
    assert shown.items() <= first.items() and first["canal_ml"] == "14.400"
    assert first["vertebra_6_mm"] == "" and "vertebra_7_ml" not in first
    assert second["reason"] == "broken, and so on" and second["canal_ml"] == ""


def test_tables_of_colours_name_every_value_of_a_mask(tmp_path):
    write_colour_tables(tmp_path)
    slicer = [line.split() for line in (tmp_path / SLICER).read_text().splitlines() if line[0] != "#"]
    snap = [line for line in (tmp_path / ITK_SNAP).read_text().splitlines() if line[0] != "#"]
    assert all(len(row) == 6 for row in slicer)
    values = [int(row[0]) for row in slicer]
    assert values == [int(line.split()[0]) for line in snap] == sorted(set(spider_values().tolist()))
    names = {int(row[0]): row[1] for row in slicer}
    assert (names[1], names[100], names[61]) == ("L5", "spinal_canal", "sacrum")
    assert names[int(spider_values()[disc_code(2)])] == "L4/L5" and names[vertebra_code(8)] == "vertebra_8"
    assert f'{names[131].replace("_", " ")}"' in "".join(snap)
    assert next(line for line in snap if line.startswith("100 ")) == '100 0 158 115 1 1 1 "spinal canal"'
    again = (tmp_path / SLICER).stat().st_mtime_ns
    write_colour_tables(tmp_path)
    assert (tmp_path / SLICER).stat().st_mtime_ns == again


def test_a_mask_in_another_format_replaces_the_older_one(tmp_path, checkpoint, image_file):
    image = image_file()
    shared = {"images": (image,), "checkpoint": checkpoint, "output_dir": tmp_path / "out", "always": True}
    first, second = (next(iter(predict(PredictOptions(**shared, format=kind)))) for kind in ("scan", "nrrd"))
    assert not first.files[0].exists() and second.files[0].name == "7_t1_seg.nrrd"
    sizes = [sitk.ReadImage(str(path)).GetSize() for path in (image, second.files[0])]
    assert is_own(second.files[0]) and sizes[0] == sizes[1]


def test_a_table_that_cannot_be_written_is_told_after_the_scans(
    tmp_path, checkpoint, image_file, monkeypatch
):
    def full(folder, rows):
        raise OSError(28, "No space left on device", str(folder / "summary.csv"))

    monkeypatch.setattr(prediction, "write_summary", full)
    options = PredictOptions(
        images=(image_file(),), checkpoint=checkpoint, output_dir=tmp_path / "out", always=True
    )
    done, table = predict(options)
    assert done.files and table.failed and "summary.csv: No space left on device" in table.problem
