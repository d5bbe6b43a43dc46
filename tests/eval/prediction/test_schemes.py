"""Models whose label schemes are not the project's own: a sacrum, bodies apart from posterior elements."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from torch import nn

from synthspine.eval.labelling.roles import by_rank
from synthspine.eval.prediction import options as prediction_options
from synthspine.eval.prediction.onnx_export import export_onnx
from synthspine.eval.prediction.prediction import PredictionError, predict
from synthspine.eval.prediction.quality import quality_flags
from synthspine.eval.prediction.scan_report import PANEL_ROWS
from synthspine.eval.prediction.volumes import structure_volumes
from synthspine.eval.segmentation.segment import segment_volume
from synthspine.gen.core.anatomy import (
    CANAL,
    POSTERIOR_OFFSET,
    SACRUM,
    disc_code,
    posterior_code,
    vertebra_code,
)
from synthspine.gen.core.schemes import RANKS, LabelScheme, label_scheme
from synthspine.gen.phantom.series import phantom_series
from synthspine.shards.checking.contact_sheet import MARGIN
from synthspine.shards.checking.overlay import code_colours
from synthspine.shards.readers.phantom import FIRST_LABELS_PATIENT
from synthspine.shards.readers.spider import Volume, read_image, read_mask, write_mha
from synthspine.train.model.checkpoint import Checkpoint, load_model, save_checkpoint
from synthspine.train.model.unet import UNet

# Untrained networks find no spine.
PredictOptions = partial(prediction_options.PredictOptions, always=True)

SCHEMES = Path(__file__).parents[2] / "schemes"
SPACING = (4.0, 1.0, 1.0)
HIGHEST = {"sacrum": SACRUM, "posterior": posterior_code(25)}


@pytest.fixture(scope="module", params=list(HIGHEST))
def scheme(request):
    return label_scheme(SCHEMES / f"{request.param}.yaml")


@pytest.fixture(scope="module")
def checkpoint(scheme, tmp_path_factory):
    """An untrained network that predicts every class somewhere."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = UNet(num_classes=scheme.num_classes, base_features=4)
        network.head.weight.data *= 100
    path = tmp_path_factory.mktemp("model") / f"{scheme.name}.pth"
    checkpoint = Checkpoint(
        state_dict=network.state_dict(),
        architecture=network.architecture,
        model="A",
        config="{}",
        step=7,
        validation_dice=0.5,
        spacing_mm=1.0,
        scheme=scheme.to_dict(),
    )
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "7_t1.mha"
    series = phantom_series(5, FIRST_LABELS_PATIENT - 1, "t1")
    middle = len(series.image) // 2
    write_mha(series.image[middle - 1 : middle + 2], series.spacing_mm, series.storage, path)
    return path


@pytest.fixture(scope="module")
def predicted(checkpoint, scan, tmp_path_factory):
    """Mask values, rows of the table, report and picture."""
    folder = tmp_path_factory.mktemp("predicted")
    options = PredictOptions(
        images=(scan,),
        checkpoint=checkpoint,
        output_dir=folder,
        min_island_mm2=0,
        overlay=True,
        sacrum=True,
        posterior=True,
    )
    (done,) = predict(options)
    assert done.problem is None
    mask, table, report, picture = done.files
    return (
        mask,
        list(csv.DictReader(table.open())),
        json.loads(report.read_text()),
        np.asarray(Image.open(picture).convert("RGB")),
    )


def test_the_mask_holds_every_structure(scheme, predicted):
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(predicted[0])))
    found = set(np.unique(values).tolist())
    legal = {0, *range(1, 26), 100, *range(201, 226)}
    legal |= {SACRUM} if scheme.has_sacrum else set(range(131, 156))
    assert found <= legal
    assert max(found & {SACRUM, *range(131, 156)}) <= HIGHEST[scheme.name]
    assert 100 in found and any(value <= 25 for value in found - {0})


def test_the_mask_holds_spiders_values_alone_unless_asked(checkpoint, scan, predicted, tmp_path):
    options = PredictOptions(images=(scan,), checkpoint=checkpoint, output_dir=tmp_path, min_island_mm2=0)
    (done,) = predict(options)
    plain, full = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in (done.files[0], predicted[0])
    )
    assert not np.isin(plain, (SACRUM, *range(131, 156))).any()
    merged = np.where((full > POSTERIOR_OFFSET) & (full < 200), full - POSTERIOR_OFFSET, full)
    assert np.array_equal(plain, np.where(merged == SACRUM, 0, merged)) and not np.array_equal(plain, full)
    rows = list(csv.DictReader(done.files[1].open()))
    assert sum(int(row["voxels"]) for row in rows) == np.count_nonzero(plain)


def test_the_mask_can_be_read_back(scheme, predicted, scan):
    codes = read_mask(predicted[0]).array
    assert codes.shape == read_image(scan).array.shape
    assert (SACRUM in codes) == scheme.has_sacrum
    assert codes.max() < POSTERIOR_OFFSET and CANAL in codes


def test_tables_list_every_structure(scheme, predicted):
    mask, rows, report, _ = predicted
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(mask)))
    assert {int(row["spider_value"]): int(row["voxels"]) for row in rows} == {
        value: int((values == value).sum()) for value in np.unique(values[values > 0]).tolist()
    }
    assert {row["structure"] for row in rows} <= set(scheme.structure_names)
    assert [entry["name"] for entry in report["structures"]] == [row["name"] for row in rows]
    last = rows[-1]
    if scheme.has_sacrum:
        assert (last["name"], last["rank"]) == ("sacrum", "")
    else:
        assert last["name"].endswith(" posterior elements")
        assert int(last["spider_value"]) == POSTERIOR_OFFSET + int(last["rank"])
    assert (report["model"]["classes"], report["model"]["scheme"]) == (5, scheme.name)


def test_the_picture_explains_the_colours_of_all_structures(scheme, predicted):
    shown, picture = by_rank(scheme), predicted[3]
    colours = code_colours(shown)
    below = picture[MARGIN + PANEL_ROWS + 80 :]
    for structure in shown.structures:
        assert (below == colours[structure.codes[0]]).all(axis=-1).any(), structure.name
    assert len({tuple(colours[each.codes[0]]) for each in shown.structures}) == len(shown.structures)


@pytest.mark.slow
def test_the_onnx_file_holds_the_scheme(scheme, checkpoint, tmp_path):
    export_onnx(load_model(checkpoint), tmp_path / "a.onnx")
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert LabelScheme.from_dict(json.loads(properties["scheme"])) == scheme
    assert json.loads(properties["classes"]) == list(scheme.class_names)
    assert json.loads(properties["codes"]) == list(scheme.codes)
    values = {"sacrum": [0, 1, 201, 100, SACRUM], "posterior": [0, 1, 131, 201, 100]}
    assert json.loads(properties["spider_values"]) == values[scheme.name]


def test_a_scheme_without_ranks_has_none_to_give(checkpoint, scan, tmp_path):
    options = PredictOptions(images=(scan,), checkpoint=checkpoint, output_dir=tmp_path, ranks="model")
    with pytest.raises(PredictionError, match="5 classes has no ranks"):
        next(predict(options))


class Drawn(nn.Module):
    """Predicts the codes that are drawn, a slice a call."""

    def __init__(self, codes, scheme):
        super().__init__()
        classes = scheme.encode(torch.from_numpy(codes)).long()
        self.logits = 30 * torch.nn.functional.one_hot(classes, scheme.num_classes).movedim(-1, 1).float()

    def forward(self, image):
        assert image.shape[2:] == self.logits.shape[2:]
        return self.logits


def segmented(codes, scheme):
    array = np.random.default_rng(0).random(codes.shape, dtype=np.float32)
    volume = Volume(array=array, spacing_mm=SPACING, reference=sitk.Image(1, 1, 1, sitk.sitkInt16))
    return segment_volume(Drawn(codes, scheme), volume, scheme=scheme, spacing_mm=1.0).codes


def test_posterior_elements_have_the_ranks_of_their_bodies(spine):
    scheme = label_scheme(SCHEMES / "posterior.yaml")
    codes = spine(levels=5)
    behind = np.cumsum(codes == CANAL, axis=2) > 0
    codes[(codes <= 25) & (codes > 0) & behind] += POSTERIOR_OFFSET
    got = segmented(codes, scheme)
    assert np.array_equal(got, codes)
    rows = {(row.structure, row.name): row.rank for row in structure_volumes(got, SPACING, scheme)}
    assert rows["vertebra", "L4"] == rows["vertebra", "L4 posterior elements"] == 2
    assert "no_vertebra" not in [flag.name for flag in quality_flags(got, SPACING, scheme)]


def test_a_scheme_without_canal_is_counted_and_lacks_no_canal(spine):
    names = {"vertebra": "1-25", "disc": "31-55"}
    scheme = LabelScheme.from_dict(
        {"name": "no canal", "structures": names, "classes": {"background": 0, **names}}
    )
    codes = spine(levels=5, arches=False, lean=0.0)
    codes[codes == CANAL] = 0
    got = segmented(codes, scheme)
    assert np.array_equal(got, codes)
    flags = {each.name: [flag.name for flag in quality_flags(got, SPACING, each)] for each in (scheme, RANKS)}
    assert set(flags["ranks"]) - set(flags["no canal"]) == {"no_canal"}


def test_ranks_beyond_a_structure_belong_to_its_highest_one():
    names = {"lumbar": "1-5", "thoracic": "6-17", "discs": "31-35"}
    scheme = LabelScheme.from_dict(
        {"name": "parts", "structures": names, "classes": {"background": 0, **names}}
    )
    codes = np.zeros((1, 4, 4), dtype=np.uint8)
    codes[0, 0] = vertebra_code(5), vertebra_code(6), vertebra_code(20), disc_code(7)
    volumes = structure_volumes(codes, SPACING, scheme)
    assert [volume.structure for volume in volumes] == ["lumbar", "thoracic", "thoracic", "discs"]


def test_another_number_of_classes_than_the_schemes_is_told(spine):
    scheme = label_scheme(SCHEMES / "sacrum.yaml")
    codes = spine(levels=2)
    volume = Volume(
        array=np.random.default_rng(0).random(codes.shape, dtype=np.float32),
        spacing_mm=SPACING,
        reference=sitk.Image(1, 1, 1, sitk.sitkInt16),
    )
    with pytest.raises(ValueError, match="14 classes, but its label scheme sacrum 5"):
        segment_volume(Drawn(codes, RANKS), volume, scheme=scheme, spacing_mm=1.0)
