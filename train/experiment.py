"""Training both models: which sets, which feed, which validation, what is saved."""

import dataclasses
import json
import math

import torch

from gen import GeneratorConfig, label_scheme
from gen.config_text import config_hash
from shards.read import ShardSet, open_set
from shards.sets import ensure_sets
from shards.workers import joined_workers
from train.augment import AugmentConfig
from train.checkpoint import Checkpoint, bare_state, save_checkpoint
from train.distributed import Ranks
from train.feed import Feed, RealFeed, RenderFeed, ShardFeed
from train.options import ModelName, TrainOptions
from train.precision import use_bf16
from train.trainer import Plan, Trainer, TrainingError
from train.unet import UNet
from train.validation import ValidationSet

BANK, VALIDATION_BANK, SYNTHETIC = "labels", "labels_val", "synthetic"
REAL_TRAIN, REAL_VALIDATION = "real_t1_train", "real_t1_val"


def train_models(options: TrainOptions, ranks: Ranks) -> None:
    """Build the sets that are missing, train the models that are asked for, and say what was written.

    Raises:
        TrainingError: no label maps, no real T1 images for B, fewer samples in a step than ranks.
        ValueError: errors of the sets, the checkpoints and the generator, all with one-line messages.
        Stopped: SIGTERM came; the state is saved.
    """
    if options.batch_size < ranks.world_size:
        raise TrainingError(
            f"batch size {options.batch_size} is less than the {ranks.world_size} ranks that share a batch"
        )
    sets = _open_sets(options, ranks)
    if not len(sets[BANK]):
        raise TrainingError(f"{sets[BANK].place}: no label map of a training patient; see the split file")
    written = [model for model in options.models if _can_train(model, options, sets, ranks)]
    for model in written:
        _train(model, options, sets, ranks)
    if ranks.is_main:
        for model in written:
            for ending in ("best.pth", "log.csv"):
                print(f"wrote {options.file(model, ending)}")


def _open_sets(options: TrainOptions, ranks: Ranks) -> dict[str, ShardSet]:
    # B needs the label maps too: they say how long an epoch is.
    names = {BANK}
    if "A" in options.models:
        names |= {VALIDATION_BANK} | ({SYNTHETIC} if options.feed == "shards" else set())
    if "B" in options.models:
        names |= {REAL_TRAIN, REAL_VALIDATION}
    places = ensure_sets(names, options.shards, joined_workers())
    return {name: open_set(place) for name, place in places.items()}


def _can_train(model: ModelName, options: TrainOptions, sets: dict[str, ShardSet], ranks: Ranks) -> bool:
    """Whether there is something to learn from; B alone without images is an error."""
    if model == "A" or len(sets[REAL_TRAIN]):
        return True
    reason = f"{sets[REAL_TRAIN].place}: no T1 image of a training patient, so Model B cannot be trained"
    if options.model == "B":
        raise TrainingError(reason)
    if ranks.is_main:
        print(f"{reason}; training Model A only")
    return False


def _train(model: ModelName, options: TrainOptions, sets: dict[str, ShardSet], ranks: Ranks) -> None:
    generator = options.shards.generator()
    source = {"A": SYNTHETIC if options.feed == "shards" else BANK, "B": REAL_TRAIN}[model]
    decisive = options.decisive() | {
        "trained": model,
        "generator": config_hash(generator),
        "label_maps": sets[BANK].manifest.label_digest,
        "samples": sets[source].manifest.identity_hash,
    }
    steps_per_epoch = math.ceil(len(sets[BANK]) / options.batch_size)
    plan = Plan(
        title=f"model {model}",
        steps=options.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        batch_size=options.batch_size,
        highest_rate=options.lr,
        weight_decay=options.weight_decay,
        bf16=use_bf16(options.precision, ranks.device),
        decisive=decisive,
        snapshot_file=options.file(model, "last.pth"),
        log_file=options.file(model, "log.csv"),
    )
    network = _new_network(options).to(ranks.device)
    config = json.dumps(
        options.to_dict()
        | decisive
        | {
            "generator_config": dataclasses.asdict(generator),
            "phantom": sets[source].manifest.phantom,
            "train_patients": sorted(_patients(sets[BANK if model == "A" else REAL_TRAIN])),
        }
    )

    def save_best(step: int, validation_dice: float) -> None:
        checkpoint = Checkpoint(
            state_dict=bare_state(network.state_dict()),
            architecture=network.architecture,
            model=model,
            config=config,
            step=step,
            validation_dice=validation_dice,
            spacing_mm=generator.spacing_mm,
        )
        save_checkpoint(options.file(model, "best.pth"), checkpoint)

    validation = _validation(model, options, generator, sets, ranks)
    if ranks.is_main:
        kept = "the last weights are kept" if validation is None else "the best of validation is kept"
        print(
            f"model {model}: {network.count_parameters() / 1e6:.2f} M parameters, {plan.steps} steps of "
            f"{plan.batch_size} samples on {ranks.world_size} x {ranks.device} "
            f"({'bf16' if plan.bf16 else 'float32'}), {kept}",
            flush=True,
        )
    trainer = Trainer(
        network,
        _feed(model, options, generator, sets, ranks),
        validation,
        label_scheme(options.num_classes),
        plan,
        ranks,
        save_best,
    )
    progress = trainer.run(resume=options.resume or ranks.restarted)
    if ranks.is_main:
        dice = "no validation" if math.isinf(progress.best) else f"best validation Dice {progress.best:.3f}"
        print(f"model {model}: {progress.step} steps in {progress.seconds / 60:.1f} min, {dice}", flush=True)


def _patients(slices: ShardSet) -> set[str]:
    return {entry["source"].partition("_")[0] for entry in slices.manifest.identity["sources"]}


def _new_network(options: TrainOptions) -> UNet:
    """First weights by the seed alone; the caller's random numbers stay where they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.shards.seed)
        return UNet(num_classes=options.num_classes, base_features=options.base_features)


def _feed(
    model: ModelName,
    options: TrainOptions,
    generator: GeneratorConfig,
    sets: dict[str, ShardSet],
    ranks: Ranks,
) -> Feed:
    seed, batch_size = options.shards.seed, options.batch_size
    if model == "B":
        arrays = sets[REAL_TRAIN].read()
        return RealFeed(arrays, AugmentConfig(), seed=seed, batch_size=batch_size, ranks=ranks)
    if options.feed == "shards":
        return ShardFeed(sets[SYNTHETIC], seed=seed, batch_size=batch_size, ranks=ranks)
    bank = sets[BANK].read().labels
    return RenderFeed(bank, generator, seed=seed, batch_size=batch_size, ranks=ranks)


def _validation(
    model: ModelName,
    options: TrainOptions,
    generator: GeneratorConfig,
    sets: dict[str, ShardSet],
    ranks: Ranks,
) -> ValidationSet | None:
    samples = sets[VALIDATION_BANK if model == "A" else REAL_VALIDATION]
    if not len(samples):
        return None
    arrays = samples.read()
    if model == "A":
        return ValidationSet.rendered(arrays.labels, generator, options.validation_samples, ranks)
    return ValidationSet.real(arrays, options.validation_samples, ranks)
