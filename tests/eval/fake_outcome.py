"""Made-up outcomes of a believable shape, for tests of the report: no number in them was ever measured."""

import numpy as np

from synthspine.eval.metrics.table import METRICS, RATES
from synthspine.eval.results.outcome import (
    CONTINUUM,
    CONTRAST,
    FORMAT,
    IN_PLANE,
    PHYSICAL,
    SYNTHETIC,
    THROUGH_PLANE,
)
from synthspine.gen.core.anatomy import STRUCTURES
from synthspine.gen.core.schemes import RANKS, label_scheme

BASE = {
    "A": {"synthetic": 0.9, "t1": 0.85, "t2": 0.84, "t2_SPACE": 0.8},
    "B": {"synthetic": 0.55, "t1": 0.88, "t2": 0.68, "t2_SPACE": 0.6},
}
CORRUPTIONS = {
    "corruption_noise": (0.0, 0.05, 0.1, 0.2),
    "corruption_bias": (0.0, 0.2, 0.4, 0.8),
    "corruption_motion": (0.0, 1.0, 2.0, 4.0),
    "corruption_ghosting": (0.0, 0.05, 0.1, 0.2),
}
FACTORS = (1.0, 2.0, 3.0, 4.0)
SLICES = 7


def fake_outcome(
    *,
    patients=12,
    models=("A", "B"),
    sets=("synthetic", "t1", "t2"),
    phantom=False,
    classes=4,
    overlays=(),
    studies=None,
    part="validation",
):
    """A dictionary as ``outcome.json`` holds it."""
    draw = np.random.Generator(np.random.PCG64(7))
    difficulty = draw.normal(0, 0.04, patients)
    measurements = []

    def add(study, place, value, penalty):
        if studies is not None and study not in studies:
            return
        for model in models:
            level = BASE[model][place] - penalty * (1.0 if model == "A" else 1.4)
            records = {
                str(number + 1): _patient(draw, level + difficulty[number], classes)
                for number in range(patients)
            }
            if place == "t2" and model == "B":
                _miss_canal(records["1"])
            if place == "t1":
                _without_canal(records["2"])
            measurements.append(
                {"study": study, "model": model, "set": place, "value": value, "patients": records}
            )

    real = [place for place in sets if place != SYNTHETIC]
    for place in real:
        add(CONTRAST, place, 0.0, 0.0)
        for factor in FACTORS:
            add(IN_PLANE, place, factor, 0.035 * (factor - 1))
            add(THROUGH_PLANE, place, factor, 0.02 * (factor - 1))
        for study, levels in CORRUPTIONS.items():
            for step, level in enumerate(levels):
                add(study, place, level, 0.02 * step**2)
    if SYNTHETIC in sets:
        add(SYNTHETIC, SYNTHETIC, 0.0, 0.0)
        for alpha in np.linspace(0, 1, 5):
            add(CONTINUUM, SYNTHETIC, float(alpha), 0.08 * float(alpha))
        for number in range(3):
            add(PHYSICAL, SYNTHETIC, float(number), 0.05 * number)
    return {
        "format": FORMAT,
        "command": "python eval/main.py --model compare",
        "options": {"resolution_factors": "1.0,2.0,3.0,4.0", "batch_size": "8"},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "monai": "1.6.1"},
        "made": "2026-11-22T23:00:00+00:00",
        "seconds": 412.0,
        "part": part,
        "compare": True,
        "models": {model: _model_facts(model, classes) for model in models},
        "missing": {m: f"models/{m}.pth is not there" for m in "AB" if m not in models},
        "left_out": {} if "t2_SPACE" in sets else {"t2_SPACE": "no validation patient has a scan of it"},
        "sets": {place: _set_facts(place, patients, phantom) for place in sets},
        "structures": RANKS.to_dict()["structures"],
        "metrics": {key: metric.written() for key, metric in METRICS.items()},
        "rates": {key: rate.written() for key, rate in RATES.items()},
        "physical": {"0": "T1 spin echo", "1": "T2 spin echo", "2": "STIR"},
        "measurements": measurements,
        "overlays": list(overlays),
    }


def _patient(draw, level, classes):
    structures = {}
    for place, name in enumerate(STRUCTURES):
        dice = float(np.clip(level + 0.02 * (1 - place) + draw.normal(0, 0.02), 0.02, 0.98))
        worse = 1 - dice
        structures[name] = {
            "dice": dice,
            "hd95_mm": 2 + 30 * worse + float(draw.uniform(0, 1)),
            "assd_mm": 0.3 + 5 * worse,
            "nsd_1mm": max(0.0, 1 - 2.5 * worse),
            "nsd_2mm": max(0.0, 1 - 1.4 * worse),
            "missed": [int(worse > 0.3), SLICES],
            "invented": [0, 0],
        }
    names = label_scheme(classes).class_names[1:]
    found = int(draw.integers(5, 7))
    confidence = (np.arange(15) + 0.5) / 15
    counts = np.array([0.0, *np.round(1e4 * np.exp(np.linspace(-5, 3, 14)))])
    accuracy = np.clip(confidence - 0.3 * (1 - level) * (confidence < 0.95), 0, 1)
    bins = np.stack([counts, counts * confidence, np.round(counts * accuracy)], axis=1)
    return {
        "structures": structures,
        "classes": {
            name: structures["disc"] | {"dice": float(np.clip(level + draw.normal(0, 0.03), 0, 1))}
            for name in names
        },
        "instances": {
            "truth": 6,
            "found": found,
            "extra": int(draw.integers(0, 2)),
            "dice": level - 0.05,
            "rank_right": found - int(draw.integers(0, 2)),
            "hd95_mm": 3 + 10 * (1 - level),
            "assd_mm": 0.5 + 2 * (1 - level),
        },
        "ece": float(0.2 * (1 - level)),
        "ece_bins": bins.tolist(),
        "entropy": float(0.05 + 0.4 * (1 - level) + draw.normal(0, 0.01)),
        "structure_entropy": 0.1 + 0.7 * (1 - level),
        "scan_entropies": [0.1 + 0.7 * (1 - level)],
        "slices": SLICES,
    }


def _miss_canal(record):
    record["structures"]["canal"].update(
        dice=0.0, hd95_mm=409.8, assd_mm=409.8, nsd_1mm=0.0, nsd_2mm=0.0, missed=[SLICES, SLICES]
    )


def _without_canal(record):
    nothing = dict.fromkeys(("dice", "hd95_mm", "assd_mm", "nsd_1mm", "nsd_2mm"))
    for kind in ("structures", "classes"):
        record[kind]["canal"].update(nothing, missed=[0, 0], invented=[0, SLICES])


def _model_facts(model, classes):
    return {
        "checkpoint": f"models/saved/{model}.pth",
        "sha256": {"A": "0a", "B": "1b"}[model] * 32,
        "scheme": label_scheme(classes).name,
        "classes": list(label_scheme(classes).class_names),
        "parameters": 490_000,
        "step": 7440,
        "validation_dice": 0.912,
        "minutes": 31.5 if model == "A" else None,
        "spacing_mm": 1.0,
        "generator_hash": "f5" * 32 if model == "A" else None,
    }


def _set_facts(place, patients, phantom):
    return {
        "folder": f"data/shards/{place}",
        "identity_hash": "c2" * 32,
        "label_digest": "d3" * 32,
        "patients": patients,
        "slices": SLICES * patients,
        "phantom": phantom,
        "spacing_mm": 1.0,
        "generator_hash": "e4" * 32 if place == SYNTHETIC else None,
    }
