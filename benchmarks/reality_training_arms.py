"""Arms of the study that change the network, its training, or what it learns from, not the generator."""

from typing import Any

from benchmarks.reality_arms import REFERENCE, Arm, Training

SHOTS = (1, 2, 5, 10)


def network() -> list[Arm]:
    """Other inputs, labels, networks, losses, schedules."""
    return [
        _arm(
            "input",
            "input-min-max",
            "Every slice, rendered or real, stretched so that its values go from 0 to 1.",
            input="min-max",
        ),
        _arm(
            "input",
            "input-percentiles",
            "Every slice stretched so that its percentiles 1 and 99 become 0 and 1.",
            input="percentiles",
        ),
        _arm(
            "input",
            "input-standardised",
            "Every slice brought to mean 0 and standard deviation 1.",
            input="standardised",
        ),
        _arm(
            "labels",
            "classes-14",
            "14 classes (vertebrae and discs by rank), merged to 4 when scored.",
            num_classes=14,
        ),
        _arm(
            "labels",
            "classes-14-no-structures",
            "14 classes without the second loss, which tells structures apart whatever their rank.",
            num_classes=14,
            structure_loss=0.0,
        ),
        _arm("network", "width-4", "A network with half the channels.", base_features=4),
        _arm("network", "width-16", "A network with twice the channels.", base_features=16),
        _arm("network", "levels-4", "A U-Net with one level less.", levels=4),
        _arm("network", "levels-6", "A U-Net with one level more.", levels=6),
        _arm(
            "training",
            "no-balance",
            "The loss does not lift small classes: all pixels count alike from the start.",
            balanced=False,
        ),
        _arm(
            "training",
            "no-coarse-levels",
            "The loss judges the finest level of the network alone, no coarse ones.",
            coarse_levels=0,
        ),
        _arm(
            "training",
            "plain-loss",
            "Neither lifted classes nor coarse levels: plain cross-entropy and Dice of the finest level.",
            balanced=False,
            coarse_levels=0,
        ),
        _arm(
            "training",
            "ema-0",
            "No average of the weights: those of the last step are scored.",
            ema_decay=0.0,
        ),
        _arm("training", "ema-0.9", "The weights averaged over about the last ten steps.", ema_decay=0.9),
        _arm("training", "lr-0.001", "A third of the highest learning rate.", lr=0.001),
        _arm("training", "lr-0.006", "Twice the highest learning rate.", lr=0.006),
        _arm(
            "training",
            "batch-half",
            "Half the batch and twice the steps, so as many samples.",
            batch_factor=0.5,
            steps_factor=2.0,
        ),
        _arm(
            "training",
            "batch-double",
            "Twice the batch and half the steps, so as many samples.",
            batch_factor=2.0,
            steps_factor=0.5,
        ),
        _arm("steps", "steps-half", "Half the steps.", steps_factor=0.5),
        _arm("steps", "steps-2x", "Twice the steps.", steps_factor=2.0),
        _arm("steps", "steps-4x", "Four times the steps.", steps_factor=4.0),
    ]


def controls() -> list[Arm]:
    """Other samples to learn from: real images, the phantom."""
    return [
        _arm(
            "control",
            "a-on-b-slices",
            "Synthetic images of the very slices that `b` learns from, no other label maps.",
            learns_from="slices",
        ),
        _arm(
            "control",
            "b",
            "Model B: real T1 slices with ordinary augmentation, no synthetic images.",
            learns_from="t1",
        ),
        _arm(
            "control",
            "b-strong",
            "Real T1 slices with strong augmentation of contrast and resolution.",
            learns_from="t1",
            augmentation="strong",
        ),
        _arm(
            "control",
            "b-both",
            "Real T1 and T2 slices: what training on both contrasts reaches.",
            learns_from="t1+t2",
        ),
        _arm(
            "control",
            "b-both-strong",
            "Real T1 and T2 slices with strong augmentation.",
            learns_from="t1+t2",
            augmentation="strong",
        ),
        _arm(
            "phantom",
            "a0",
            "Synthetic images of the phantom's label maps alone: nothing of any patient.",
            learns_from="phantom",
        ),
        _arm(
            "phantom",
            "a0-mixed",
            "Synthetic images half of the phantom's label maps, half of the patients'.",
            learns_from="mixed",
        ),
    ]


def fine_tuned() -> list[Arm]:
    """The reference, trained on with few real slices."""
    return [
        Arm(
            name=f"fine-tuned-{shots}",
            group="fine-tuning",
            question=f"The reference, then a fifth of its steps on {_slices(shots)}, strongly augmented.",
            # As train/main.py --start-from does: the network knows small classes already.
            training=Training(
                learns_from="t1",
                start=REFERENCE,
                shots=shots,
                lr=0.0005,
                augmentation="strong",
                steps_factor=0.2,
                balanced=False,
            ),
        )
        for shots in SHOTS
    ]


def _arm(group: str, name: str, question: str, **training: Any) -> Arm:
    return Arm(name=name, group=group, question=question, training=Training(**training))


def _slices(shots: int) -> str:
    return "1 real T1 slice" if shots == 1 else f"{shots} real T1 slices"
