"""The generator as a transform of TorchIO: ``pip install 'synthspine[interop]'``."""

from typing import Any

import torchio as tio
from torchio.transforms.augmentation import RandomTransform

from synthspine.gen.dataset import SpineSynthGenerator
from synthspine.gen.patient_axes import picture_of


class SynthSpine(tio.Transform):
    """Add the picture of a label map to a ``Subject``, always the same one.

    Args:
        generator: how it is rendered.
        index: number of the sample, 0 or more; the seed is that of the generator.
        label_key: the label map, of one channel, in any orientation.
        image_key: where the picture goes: a ``ScalarImage`` on the grid of the label map, in [0, 1].
        deform: let the anatomy move, and replace the label map by the one that the picture shows.
        kwargs: those of ``torchio.Transform``.

    Raises:
        ValueError: from :func:`synthspine.gen.patient_axes.picture_of`, at the call.
    """

    def __init__(
        self,
        generator: SpineSynthGenerator,
        index: int,
        label_key: str = "label",
        image_key: str = "image",
        deform: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.generator = generator
        self.index = index
        self.label_key = label_key
        self.image_key = image_key
        self.deform = deform
        self.args_names = ["generator", "index", "label_key", "image_key", "deform"]

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """What TorchIO calls."""
        label = subject[self.label_key]
        image, target = picture_of(
            self.generator, label.data[0], label.affine, self.index, deform=self.deform
        )
        subject.add_image(tio.ScalarImage(tensor=image[None], affine=label.affine), self.image_key)
        if self.deform:
            label.set_data(target[None])
        return subject


class SynthSpineTransform(RandomTransform):
    """Add a random picture of a label map to a ``Subject``.

    The number of the sample comes from torch's random numbers, as all randomness of TorchIO. The history
    holds it as a :class:`SynthSpine`: ``subject.get_composed_history()`` gives the same picture again.

    Args:
        generator: how it is rendered.
        label_key: as for :class:`SynthSpine`, and so are the others.
        image_key: where the picture goes.
        deform: whether the anatomy moves.
        kwargs: those of ``torchio.Transform``.
    """

    def __init__(
        self,
        generator: SpineSynthGenerator,
        label_key: str = "label",
        image_key: str = "image",
        deform: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments: dict[str, Any] = {
            "generator": generator,
            "label_key": label_key,
            "image_key": image_key,
            "deform": deform,
        }

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """What TorchIO calls."""
        return SynthSpine(index=self._get_random_seed(), **self.arguments)(subject)
