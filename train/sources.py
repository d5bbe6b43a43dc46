"""What a model learns from: its sets, its feed, its validation samples."""

import json
import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthspine.gen import GeneratorConfig
from synthspine.gen.config import config_hash
from synthspine.gen.core.anatomy import IGNORE, SACRUM
from synthspine.gen.geometry.side_slices import map_odds, side_slices
from synthspine.shards.building.names import BANK, LABELS_VAL, REAL_T1_TRAIN, SYNTHETIC, VALIDATION_IMAGES
from synthspine.shards.building.sets import ensure_sets
from synthspine.shards.format.provenance import digest_of
from synthspine.shards.reading.open import SampleArrays, ShardSet, open_set
from synthspine.train.config import ModelName, TrainingError, TrainOptions
from synthspine.train.data.augment import AUGMENTATIONS
from synthspine.train.data.feed import Feed, PrefetchedFeed, RealFeed, RenderFeed, ShardFeed, SplitFeed
from synthspine.train.data.finite import FiniteImages
from synthspine.train.model.checkpoint import load_checkpoint
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.validation import ValidationSet

REAL_VALIDATION = VALIDATION_IMAGES["t1"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The sets of a training, open, by name."""

    options: TrainOptions
    ranks: Ranks
    sets: dict[str, ShardSet]

    @classmethod
    def open(cls, options: TrainOptions, ranks: Ranks) -> "Sources":
        """Build the sets that are missing, and open all that are needed; an error without label maps."""
        # B needs the label maps too, because they define the length of an epoch.
        names = {BANK}
        if "A" in options.models:
            names |= {LABELS_VAL} | ({SYNTHETIC} if options.feed == "shards" else set())
        if "B" in options.models:
            names |= {REAL_T1_TRAIN, REAL_VALIDATION}
        places = ensure_sets(names, options.shards, ranks)
        sets = {name: open_set(place) for name, place in places.items()}
        sources = cls(options=options, ranks=ranks, sets=sets)
        if not len(sources.bank):
            raise TrainingError(
                f"{sources.bank.place}: no label map of a training patient; see the split file"
            )
        return sources

    @property
    def bank(self) -> ShardSet:
        """The label maps of the training patients."""
        return self.sets[BANK]

    @property
    def generator(self) -> GeneratorConfig:
        """The generator's configuration."""
        return self.options.shards.generator()

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which as many samples are seen as there are label maps."""
        return math.ceil(len(self.bank) / self.options.batch_size)

    def can_train(self, model: ModelName) -> bool:
        """Whether a model has training data; raises if the only model that is trained has none."""
        if model == "A" or len(self.sets[REAL_T1_TRAIN]):
            return True
        place = self.sets[REAL_T1_TRAIN].place
        reason = f"{place}: no T1 image of a training patient, so Model B cannot be trained"
        if self.options.model == "B":
            raise TrainingError(reason)
        self.ranks.log(f"{reason}; training Model A only")
        return False

    def samples(self, model: ModelName) -> ShardSet:
        """The set that a model's samples come from."""
        if model == "B":
            return self.sets[REAL_T1_TRAIN]
        return self.sets[SYNTHETIC] if self.options.feed == "shards" else self.bank

    def patients(self, model: ModelName) -> list[str]:
        """The patients that a model learns from, those of the checkpoint to start from included."""
        slices = self.bank if model == "A" else self.sets[REAL_T1_TRAIN]
        patients = {entry["source"].partition("_")[0] for entry in slices.manifest.identity["sources"]}
        if self.options.start_from is not None:
            base = json.loads(load_checkpoint(self.options.start_from).config)
            patients.update(base.get("train_patients", []))
        return sorted(patients)

    @contextmanager
    def feed(self, model: ModelName) -> Iterator[Feed]:
        """Where the batches of a model come from, each made while the step before is taken.

        A GPU renders the batches of several steps together, while those before them are taken.
        """
        feed, steps = self.feed_in_step(model), 1
        if isinstance(feed, RenderFeed) and (steps := feed.steps_at_once) > 1:
            feed = feed.joined(steps)
        with closing(PrefetchedFeed(feed, self.ranks.device)) as prefetched:
            yield prefetched if steps == 1 else SplitFeed(prefetched, steps)

    def feed_in_step(self, model: ModelName) -> Feed:
        """The same batches, each made when it is requested."""
        seed, batch_size, ranks = self.options.shards.seed, self.options.batch_size, self.ranks
        samples = self.samples(model)
        if model == "B":
            arrays, ranges = self._read_images(samples), AUGMENTATIONS[self.options.augmentation]
            if self.options.label_scheme.has_sacrum and not (arrays.labels == SACRUM).any():
                ranks.log(
                    f"warning: {samples.place}: no label map annotates a sacrum, so model B learns none"
                )
            return RealFeed(
                arrays, ranges, seed=seed, batch_size=batch_size, ranks=ranks, spacing_mm=self._refined_mm
            )
        if self.options.feed == "shards":
            if self.options.label_scheme.has_sacrum:
                ranks.log(
                    "warning: shards do not say where a sacrum is painted, so model A learns only from "
                    "annotated ones; --feed render teaches it the painted ones too"
                )
            return ShardFeed(
                samples, seed=seed, batch_size=batch_size, ranks=ranks, spacing_mm=self._refined_mm
            )
        labels = samples.read().labels
        return RenderFeed(
            labels,
            self.generator,
            seed=seed,
            batch_size=batch_size,
            ranks=ranks,
            odds=self._odds(labels),
            refined=self.options.label_scheme.is_refined,
        )

    def _odds(self, labels: np.ndarray) -> Tensor:
        """How likely every map of ``(N, H, W)`` is drawn."""
        side = side_slices(torch.from_numpy(labels), self.generator.spacing_mm)
        return map_odds(side, self.options.shards.side_share)

    def _read_images(self, samples: ShardSet) -> SampleArrays:
        """A whole set of images; those that are not finite are told, and count for nothing."""
        arrays = samples.read()
        if arrays.images is None:
            return arrays
        images, labels = FiniteImages(samples.place, self.ranks.log).clean(
            torch.from_numpy(arrays.images), torch.from_numpy(arrays.labels), arrays.records
        )
        if (labels == IGNORE).all():
            raise TrainingError(
                f"{samples.place}: no image is finite and annotated; --rebuild writes the set anew"
            )
        return SampleArrays(images.numpy(), labels.numpy(), arrays.records)

    @property
    def _refined_mm(self) -> float | None:
        """Pixel size of the codes that are refined; None if the label scheme needs no refined codes."""
        return self.generator.spacing_mm if self.options.label_scheme.is_refined else None

    def validation(self, model: ModelName) -> ValidationSet | None:
        """What a model is validated on; None where there are no validation patients."""
        slices = self._validation_slices(model)
        if not len(slices):
            return None
        count = self.options.validation_samples
        if model == "A":
            labels, refined = slices.read().labels, self.options.label_scheme.is_refined
            return ValidationSet.rendered(
                labels, self.generator, count, self.ranks, odds=self._odds(labels), refined=refined
            )
        arrays = self._read_images(slices)
        return ValidationSet.real(arrays, count, self.ranks, spacing_mm=self._refined_mm)

    def validated_on(self, model: ModelName) -> str:
        """Digest of all that the samples of :meth:`validation` follow from, hexadecimal."""
        slices, count = self._validation_slices(model), self.options.validation_samples
        rendered = model == "A"
        return digest_of(
            {
                "slices": slices.manifest.identity_hash,
                "samples": count if rendered else min(count, len(slices)),
                "generator": config_hash(self.generator) if rendered else None,
            }
            | ({"side_share": self.options.shards.side_share} if rendered else {})
        )

    def _validation_slices(self, model: ModelName) -> ShardSet:
        return self.sets[LABELS_VAL if model == "A" else REAL_VALIDATION]
