"""An experiment: the models that are trained, from which sources, and the files that are saved."""

import json
import math
import platform
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict

from synthspine.gen.config import config_hash
from synthspine.shards.format.provenance import code_state, made_with
from synthspine.shards.storage.atomic import file_digest, write_text
from synthspine.train.config import FILE_STEMS, ModelName, Plan, TrainingError, TrainOptions
from synthspine.train.model.checkpoint import Checkpoint, load_model, save_checkpoint
from synthspine.train.model.starting import weights_from
from synthspine.train.model.unet import UNet, seeded_unet
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.precision import use_bf16
from synthspine.train.runtime.stop import StopRequest, watch_for_stop
from synthspine.train.save_lock import held_for_one_run
from synthspine.train.snapshots import SnapshotFolder, save_folder_problem
from synthspine.train.sources import Sources
from synthspine.train.trainer import Trainer

DRY_RUN_STEPS = 2
STOPPED_EARLY = (
    "stopped before the training began: nothing is trained; the same command resumes half-made sets"
)


def train_models(options: TrainOptions, ranks: Ranks, ends_process: bool = False) -> None:
    """Build the sets that are missing, train the requested models, and print what was written.

    With ``ends_process`` nothing comes after it in this process, so that later signals are ignored.

    Raises:
        TrainingError: no label maps, no real T1 images for B, fewer samples in a step than ranks, a save
            folder that cannot be written or that another run holds, or a loss that stays infinite.
        ValueError, OSError: errors of the sets, the checkpoints and the generator.
        TrainingStopped: SIGTERM or Ctrl-C came; the state is saved.
    """
    # A dry run has no state to save, so signals end it.
    watch = nullcontext(StopRequest()) if options.dry_run else watch_for_stop(ends_process=ends_process)
    with watch as stop, ExitStack() as stack:
        with stop.interrupts(STOPPED_EARLY):
            _check(options, ranks)
            if not options.dry_run:
                stack.enter_context(held_for_one_run(options.save_dir, ranks))
            sources = Sources.open(options, ranks)
        models = [model for model in options.models if sources.can_train(model)]
        ranks.log(options.summary())
        # Earlier files of all models at once: a restart during the first model must not resume old snapshots
        # of the second.
        if ranks.is_main and options.resume == "never" and not (options.dry_run or ranks.restarted):
            for model in models:
                SnapshotFolder(_plan(model, sources), ranks.log).set_aside()
        for model in models:
            _train(model, sources, stop)
        for model in models if not options.dry_run else ():
            for ending in ("best.pth", "log.csv"):
                ranks.log(f"wrote {options.file(model, ending)}")


def _check(options: TrainOptions, ranks: Ranks) -> None:
    if options.batch_size < ranks.world_size:
        raise TrainingError(
            f"batch size {options.batch_size} is less than the {ranks.world_size} ranks that share a batch"
        )
    if options.start_from is not None:
        _new_network(options)
    # Rank 0 alone writes: on other machines the folder need not be there. All end alike.
    if (problem := ranks.from_main(lambda: save_folder_problem(options.save_dir))) is not None:
        raise TrainingError(problem)


def _train(model: ModelName, sources: Sources, stop: StopRequest) -> None:
    options, ranks = sources.options, sources.ranks
    plan = _plan(model, sources)
    scheme = options.label_scheme
    network = _new_network(options).to(ranks.device)
    # In the identity, label_maps is the digest of the label bank, samples that of the set it learns from;
    # made_with holds versions and the kind of machine; config_hash is that of the generator.
    config = (
        plan.run_identity
        | options.to_dict()
        | {
            "config_hash": config_hash(sources.generator),
            "code": plan.code,
            "validated_on": plan.validated_on,
            "made_with": made_with(),
            "generator_config": asdict(sources.generator),
            "phantom": sources.samples(model).manifest.phantom,
            "train_patients": sources.patients(model),
        }
    )

    def save_model(ending: str, average: UNet, step: int, validation_dice: float) -> None:
        checkpoint = Checkpoint(
            state_dict=average.state_dict(),
            architecture=average.architecture,
            model=model,
            config=json.dumps(config),
            step=step,
            validation_dice=validation_dice,
            spacing_mm=sources.generator.spacing_mm,
            scheme=scheme.to_dict(),
        )
        save_checkpoint(plan.file(ending), checkpoint)

    validation = sources.validation(model)
    kept = "the last weights are kept" if validation is None else "the best of validation is kept"
    ranks.log(
        f"{plan.title}: {network.count_parameters() / 1e6:.2f} M parameters, {plan.steps} steps of "
        f"{plan.batch_size} samples on {ranks.world_size} x {ranks.device} "
        f"({'bf16' if plan.bf16 else 'float32'}), {kept}"
    )
    with sources.feed(model) as feed:
        trainer = Trainer(network, feed, validation, scheme, plan, ranks, save_model)
        if options.dry_run:
            _dry_run(trainer)
            return
        if ranks.is_main:
            run = {
                "steps": plan.steps,
                "steps_per_epoch": plan.steps_per_epoch,
                "ranks": ranks.world_size,
                "device": str(ranks.device),
                "arithmetic": "bf16" if plan.bf16 else "float32",
                "python": platform.python_version(),
            }
            text = json.dumps(config | {"run": run}, indent=1, sort_keys=True)
            write_text(plan.file("config.json"), text + "\n")
        progress = trainer.run(stop=stop)
    dice = "no validation" if math.isinf(progress.best) else f"best validation Dice {progress.best:.3f}"
    ranks.log(f"{plan.title}: {progress.step} steps in {progress.seconds / 60:.1f} min, {dice}")


def _plan(model: ModelName, sources: Sources) -> Plan:
    options, bank = sources.options, sources.bank
    return Plan(
        title=f"model {model}",
        steps=options.epochs * sources.steps_per_epoch,
        steps_per_epoch=sources.steps_per_epoch,
        batch_size=options.batch_size,
        accumulate=options.accumulate,
        highest_rate=options.lr,
        weight_decay=options.weight_decay,
        ema_decay=options.ema_decay,
        loss=options.loss,
        structure_loss=options.structure_weight,
        balanced=options.start_from is None,
        bf16=use_bf16(options.precision, sources.ranks.device),
        compiled=options.compile,
        run_identity=options.run_identity()
        | {
            "trained": model,
            "generator": config_hash(sources.generator),
            "label_maps": bank.manifest.label_digest,
            "samples": sources.samples(model).manifest.identity_hash,
        }
        | ({} if options.start_from is None else {"started_from": file_digest(options.start_from)}),
        code=code_state(),
        validated_on=sources.validated_on(model),
        stem=options.save_dir / FILE_STEMS[model],
        snapshot_minutes=options.snapshot_minutes,
        board=options.tensorboard,
    )


def _new_network(options: TrainOptions) -> UNet:
    """The network before the first step; an error where the checkpoint to start from does not fit."""
    scheme = options.label_scheme
    network = seeded_unet(
        options.shards.seed,
        num_classes=scheme.num_classes,
        base_features=options.base_features,
        levels=options.levels,
    )
    if options.start_from is not None:
        start = load_model(options.start_from)
        try:
            weights = weights_from(start, network, scheme, options.shards.seed)
        except ValueError as error:
            raise TrainingError(f"{options.start_from}: cannot start from it, {error}") from error
        network.load_state_dict(weights)
    return network


def _dry_run(trainer: Trainer) -> None:
    """Take some steps and a validation, log the expected time of the whole run, and save nothing.

    The first step warms up and compiles, so the last one is timed. All ranks call it together.
    """
    plan, statistics = trainer.plan, trainer.stepper.statistics
    for step in range(DRY_RUN_STEPS):
        started = time.monotonic()
        trainer.stepper.take(step, *trainer.feed.batch(step))
        counts = statistics.read()
        step_seconds = time.monotonic() - started
        if counts.skipped:
            raise TrainingError(
                f"{plan.title}: dry run: loss or gradient of step {step + 1} is not finite; "
                "try --precision fp32 or another --preset, and synthspine shards verify on the sets"
            )
    started = time.monotonic()
    trainer.validate()
    validation_seconds = time.monotonic() - started
    minutes = (plan.steps * step_seconds + plan.validations * validation_seconds) / 60
    snapshots = trainer.snapshots.files()
    found = f"{len(snapshots)} snapshot(s) there, the newest {snapshots[0].name}" if snapshots else "none yet"
    trainer.ranks.log(
        f"{plan.title}: dry run: loss {counts.loss:.3f}, {step_seconds:.2f} s a step, "
        f"{validation_seconds:.1f} s a validation; {plan.steps} steps and {plan.validations} "
        f"validations would take about {minutes:.1f} min\n"
        f"{plan.title}: dry run: would write {plan.stem}_* (snapshots: {found}); nothing written there"
    )
