"""The annotation of the phantom's canal."""

from dataclasses import replace

import numpy as np

from synthspine.gen.phantom import series
from synthspine.gen.phantom.patient import phantom_patient
from synthspine.gen.phantom.series import phantom_mask

SEED = 5


def test_the_annotation_of_the_canal_narrows_to_its_end(monkeypatch):
    def last_15_mm(taper):
        plain = replace(phantom_patient(SEED, 1), label_taper=taper)
        monkeypatch.setattr(series, "phantom_patient", lambda *_: plain)
        scan = phantom_mask(SEED, 1, "t1")
        canal = (scan.mask == 100).sum(axis=(0, 2))
        end = np.flatnonzero(canal)[-1]
        return canal[end - round(15 / scan.spacing_mm[1]) : end + 1].sum()

    assert last_15_mm(30.0) < 0.8 * last_15_mm(0.01)
