"""Training both models: what each is made of, what is saved, what is told."""

import hashlib
import json
import math
from contextlib import nullcontext

from synthspine.gen import label_scheme
from synthspine.gen.config import config_hash
from synthspine.train.code_version import code_version
from synthspine.train.configuration import compact, configuration, write_configuration
from synthspine.train.model.checkpoint import Checkpoint, bare_state, load_model, save_checkpoint
from synthspine.train.model.unet import UNet, seeded_unet
from synthspine.train.options import ModelName, TrainOptions
from synthspine.train.plan import Plan, TrainingError
from synthspine.train.rehearsal import rehearse
from synthspine.train.runtime.distributed import Ranks
from synthspine.train.runtime.precision import use_bf16
from synthspine.train.runtime.stop import StopRequest, watch_for_stop
from synthspine.train.save_folder import try_save_folder
from synthspine.train.snapshot_folder import SnapshotFolder
from synthspine.train.sources import Sources
from synthspine.train.trainer import Trainer

STOPPED_EARLY = (
    "stopped before the training began: nothing is trained, and the same command goes on with sets that are "
    "half-made"
)


def train_models(options: TrainOptions, ranks: Ranks) -> None:
    """Build the sets that are missing, train the models that are asked for, and say what was written.

    Raises:
        TrainingError: no label maps, no real T1 images for B, fewer samples in a step than ranks, a save
            folder that cannot be written, or a loss that stays infinite (in a dry run: that is so once).
        ValueError: errors of the sets, the checkpoints and the generator, all with one-line messages.
        OSError: a checkpoint cannot be written.
        Stopped: SIGTERM or Ctrl-C came; the state is saved.
    """
    # A dry run has no state to save: it simply ends.
    with nullcontext(StopRequest()) if options.dry_run else watch_for_stop() as stop:
        with stop.ends(STOPPED_EARLY):
            _check(options, ranks)
            sources = Sources.open(options, ranks)
        models = [model for model in options.models if sources.can_train(model)]
        if ranks.is_main:
            print(compact(options), flush=True)
        if not options.dry_run:
            _set_aside(models, sources)
        for model in models:
            _train(model, sources, stop)
    if ranks.is_main and not options.dry_run:
        for model in models:
            for ending in ("best.pth", "log.csv"):
                print(f"wrote {options.file(model, ending)}")


def _check(options: TrainOptions, ranks: Ranks) -> None:
    if options.batch_size < ranks.world_size:
        raise TrainingError(
            f"batch size {options.batch_size} is less than the {ranks.world_size} ranks that share a batch"
        )
    if options.start_from is not None:
        _new_network(options)
    # Rank 0 alone writes: on other machines the folder need not be there. All end alike.
    problem = None
    if ranks.is_main:
        try:
            try_save_folder(options.save_dir)
        except TrainingError as error:
            problem = str(error).encode()
    if (told := ranks.from_main(problem)) is not None:
        raise TrainingError(told.decode())


def _set_aside(models: list[ModelName], sources: Sources) -> None:
    """Unless this run goes on from an earlier one: give what that left other names, of all models at once.

    Were it done model by model, a restart by torchrun during the first would take the second one's old
    snapshots for those of this run.
    """
    options, ranks = sources.options, sources.ranks
    if ranks.is_main and options.resume == "never" and not ranks.restarted:
        for model in models:
            SnapshotFolder(_plan(model, sources), lambda text: print(text, flush=True)).set_aside()


def _train(model: ModelName, sources: Sources, stop: StopRequest) -> None:
    options, ranks = sources.options, sources.ranks
    plan = _plan(model, sources)
    network = _new_network(options).to(ranks.device)
    chosen = configuration(options, plan, sources, model)
    spacing_mm = sources.generator.spacing_mm

    def save_best(average: UNet, step: int, validation_dice: float) -> None:
        checkpoint = Checkpoint(
            state_dict=bare_state(average.state_dict()),
            architecture=average.architecture,
            model=model,
            config=json.dumps(chosen),
            step=step,
            validation_dice=validation_dice,
            spacing_mm=spacing_mm,
        )
        save_checkpoint(plan.file("best.pth"), checkpoint)

    validation = sources.validation(model)
    if ranks.is_main:
        kept = "the last weights are kept" if validation is None else "the best of validation is kept"
        print(
            f"{plan.title}: {network.count_parameters() / 1e6:.2f} M parameters, {plan.steps} steps of "
            f"{plan.batch_size} samples on {ranks.world_size} x {ranks.device} "
            f"({'bf16' if plan.bf16 else 'float32'}), {kept}",
            flush=True,
        )
    scheme = label_scheme(options.num_classes)
    with sources.feed(model) as feed:
        trainer = Trainer(network, feed, validation, scheme, plan, ranks, save_best)
        if options.dry_run:
            _rehearse(trainer)
            return
        if ranks.is_main:
            write_configuration(plan.file("config.json"), chosen, ranks, plan)
        progress = trainer.run(stop=stop)
    if ranks.is_main:
        dice = "no validation" if math.isinf(progress.best) else f"best validation Dice {progress.best:.3f}"
        print(f"{plan.title}: {progress.step} steps in {progress.seconds / 60:.1f} min, {dice}", flush=True)


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
        structure_loss=options.structure_weight,
        balanced=options.start_from is None,
        bf16=use_bf16(options.precision, sources.ranks.device),
        compiled=options.compile,
        decisive=options.decisive()
        | {
            "trained": model,
            "generator": config_hash(sources.generator),
            "label_maps": bank.manifest.label_digest,
            "samples": sources.samples(model).manifest.identity_hash,
        }
        | _start(options),
        code=code_version(),
        validated_on=sources.validated_on(model),
        stem=options.stem(model),
        snapshot_minutes=options.snapshot_minutes,
        board=options.tensorboard,
    )


def _start(options: TrainOptions) -> dict[str, str]:
    """What the weights begin as decides about a run, if it is not the seed."""
    if options.start_from is None:
        return {}
    return {"started_from": hashlib.sha256(options.start_from.read_bytes()).hexdigest()}


def _new_network(options: TrainOptions) -> UNet:
    """The network before the first step.

    Raises:
        CheckpointError: the checkpoint to start from cannot be read.
        TrainingError: it is of a network of another size.
    """
    network = seeded_unet(
        options.shards.seed,
        num_classes=options.num_classes,
        base_features=options.base_features,
        levels=options.levels,
    )
    if options.start_from is not None:
        start = load_model(options.start_from)
        theirs = (start.num_classes, start.base_features, start.levels)
        if theirs != (options.num_classes, options.base_features, options.levels):
            raise TrainingError(
                f"{options.start_from}: cannot start from it, it is a network of --num-classes {theirs[0]} "
                f"--base-features {theirs[1]} --levels {theirs[2]}"
            )
        network.load_state_dict(start.state_dict())
    return network


def _rehearse(trainer: Trainer) -> None:
    plan = trainer.plan
    found = rehearse(trainer)
    if not trainer.ranks.is_main:
        return
    snapshots = trainer.snapshots.files()
    waiting = (
        f"{len(snapshots)} snapshot(s) there, the newest {snapshots[0].name}" if snapshots else "none yet"
    )
    print(
        f"{plan.title}: dry run: loss {found.loss:.3f}, {found.step_seconds:.2f} s a step, "
        f"{found.validation_seconds:.1f} s a validation; {plan.steps} steps and {plan.validations} "
        f"validations would take about {found.minutes:.1f} min\n"
        f"{plan.title}: dry run: would write {plan.stem}_* (snapshots: {waiting}); nothing written there",
        flush=True,
    )
