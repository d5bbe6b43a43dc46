"""The generator as a dictionary transform of MONAI: ``pip install 'synthspine[interop]'``."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable
from monai.utils import convert_to_tensor, ensure_tuple_rep

from synthspine.gen.dataset import SpineSynthGenerator
from synthspine.gen.patient_axes import picture_of

_MOST = 2**31 - 1


class RandSynthSpined(Randomizable, MapTransform):
    """Add random pictures of label maps to a dictionary.

    MONAI's random state draws the number of the sample; the seed is that of the generator. The picture's
    ``meta`` holds both as ``synthspine_index`` and ``synthspine_seed``; all label maps share them.

    Args:
        keys: label maps of one channel. A ``MetaTensor`` of three dimensions may have any orientation; other
            arrays are ``(1, Z, H, W)`` or ``(1, H, W)`` in the axes of the generator.
        generator: how they are rendered.
        image_keys: where the pictures go, one for every key: ``MetaTensor``, float32 in [0, 1].
        deform: let the anatomy move, and replace the label maps by those that the pictures show.
        allow_missing_keys: leave out label maps that are not there.

    Raises:
        ValueError: from :func:`synthspine.gen.patient_axes.picture_of`, at the call.
    """

    def __init__(
        self,
        keys: Hashable | Sequence[Hashable],
        generator: SpineSynthGenerator,
        image_keys: str | Sequence[str] = "image",
        deform: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.generator = generator
        self.image_keys = ensure_tuple_rep(image_keys, len(self.keys))
        self.deform = deform
        self.index = 0

    def randomize(self, data: Any = None) -> None:
        """Draw the number of the next sample."""
        self.index = int(self.R.randint(_MOST))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The dictionary with the pictures."""
        result = dict(data)
        self.randomize()
        for key, image_key in self.key_iterator(result, self.image_keys):
            label = convert_to_tensor(result[key], track_meta=True)
            oriented = isinstance(result[key], MetaTensor) and label.dim() == 4
            image, target = picture_of(
                self.generator,
                label[0],
                label.affine if oriented else None,
                self.index,
                deform=self.deform,
            )
            picture = MetaTensor(image[None]).copy_meta_from(label)
            picture.meta |= {"synthspine_seed": self.generator.seed, "synthspine_index": self.index}
            result[image_key] = picture
            if self.deform:
                result[key] = MetaTensor(target[None]).copy_meta_from(label)
        return result
