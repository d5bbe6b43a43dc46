"""Rendered label maps: contrasts between T1 and T2, physical contrasts, and the training mixture.

Every map of a measured patient, side slices excepted, is rendered with the generator's configuration and a
fixed seed; only the contrast differs between conditions, so that all show the same anatomy, artefacts and
resolution.
"""

from dataclasses import replace

import torch
from torch import Tensor

from synthspine.gen import GeneratorConfig, draw, render
from synthspine.gen.config import config_hash
from synthspine.gen.geometry.side_slices import side_slices
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.reading.open import open_set
from synthspine.shards.storage.place import Place

# Differs from seeds that people choose and from the seed of the validation in training.
RENDER_SEED = 2**40 + 2
PROTOCOLS = {"T1 spin echo": (0.0, 0.0), "T2 spin echo": (0.0, 1.0), "STIR": (1.0, 0.0)}
"""Physical contrasts by name: probabilities of fat-nulling inversion, and otherwise of T2 weighting."""


class MapsToRender:
    """A set of label maps of measured patients, rendered on demand on a device.

    With ``refined``, codes tell posterior elements and the painted sacrum apart (``gen.geometry.refine``).

    Raises:
        ShardError: the set is broken.
    """

    def __init__(
        self, place: Place, config: GeneratorConfig, device: torch.device, *, refined: bool = False
    ) -> None:
        opened = open_set(place)
        self.place = opened.place
        self.phantom = bool(opened.manifest.phantom)
        self.spacing_mm = float(opened.manifest.identity["grid"]["spacing_mm"])
        self.label_digest = opened.manifest.label_digest
        self.config = config
        self.generator_hash = config_hash(config)
        self.identity_hash = digest_of(
            [opened.manifest.identity_hash, self.label_digest, self.generator_hash, RENDER_SEED]
        )
        self._device = device
        self._refined = refined
        self._labels = torch.empty(0)
        self.patients: list[str] = []
        if len(opened):
            arrays = opened.read()
            labels = torch.from_numpy(arrays.labels)
            shown = ~side_slices(labels, self.spacing_mm)
            self._labels = labels[shown].to(device)
            self.patients = [
                str(record["patient"]) for record, kept in zip(arrays.records, shown, strict=True) if kept
            ]

    @property
    def slices(self) -> int:
        """Number of maps."""
        return len(self.patients)

    def rendered(self, indices: Tensor, config: GeneratorConfig) -> tuple[Tensor, Tensor]:
        """Render maps ``indices``, int64 ``(B,)`` on the CPU, as samples of the same indices.

        Returns:
            Image, float32 in [0, 1], ``(B, 1, H, W)``, and dense codes, uint8, ``(B, H, W)``, on the device.
        """
        params = draw(config, RENDER_SEED, indices, maps=self.slices)
        return render(self._labels, replace(params, map_index=indices), refined=self._refined)


def between_t1_and_t2(config: GeneratorConfig, steps: int) -> dict[float, GeneratorConfig]:
    """Configurations by alpha, at least 2: evenly spaced from measured means of T1 (0) to those of T2 (1)."""
    alphas = [step / (steps - 1) for step in range(steps)]
    return {alpha: replace(config, contrast=measured_contrast(alpha, config.contrast)) for alpha in alphas}


def by_physics(config: GeneratorConfig) -> dict[float, GeneratorConfig]:
    """Configurations of ``PROTOCOLS`` by number, with contrasts from the signal equations of spin echoes."""
    configs = {}
    for number, (stir, t2) in enumerate(PROTOCOLS.values()):
        physical = replace(config.contrast.physical, stir_probability=stir, t2_probability=t2)
        contrast = replace(
            config.contrast, random_weight=0.0, measured_weight=0.0, physical_weight=1.0, physical=physical
        )
        configs[float(number)] = replace(config, contrast=contrast)
    return configs
