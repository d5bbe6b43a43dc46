"""Every random decision of a batch of samples: the record of a picture, which renders it again."""

from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar, Self, TypeVar, get_args, get_origin, get_type_hints, overload

from torch import Tensor

from synthspine.gen.config import GeneratorConfig
from synthspine.gen.core.drawing import AlwaysDrawn, Feature, P
from synthspine.gen.core.feature import Batch

AnyClass = TypeVar("AnyClass")


def _features() -> dict[str, type[Feature[Any]]]:
    hints = get_type_hints(GeneratorConfig)
    kinds = {
        name: get_args(hint)[0] if get_origin(hint) is ClassVar else hint for name, hint in hints.items()
    }
    return {
        name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Feature)
    }


FEATURES = _features()
"""The class of every feature of a ``GeneratorConfig``, by its name there."""
_NAMES = {kind: name for name, kind in FEATURES.items()}
_ALONG_SPINE = [name for name, kind in FEATURES.items() if kind.along_spine]
_NEAR_BORDERS = [name for name, kind in FEATURES.items() if kind.near_borders]


def _with_features(kind: type[AnyClass]) -> type[AnyClass]:
    """The dataclass with a field for the parameters of every feature."""
    made = [
        (name, feature.params() if issubclass(feature, AlwaysDrawn) else feature.params() | None)
        for name, feature in FEATURES.items()
    ]
    about = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return make_dataclass(
        kind.__name__, made, bases=(kind,), namespace=about, frozen=True, kw_only=True, slots=True
    )


@_with_features
@dataclass(frozen=True, kw_only=True, slots=True)
class Params(Batch):
    """All decisions of a batch.

    ``params[BiasConfig]`` are the parameters of a feature, and so is ``params.bias``, by its name in
    ``GeneratorConfig``: None where the configuration leaves it out. Their classes explain them.

    Attributes:
        spacing_mm: spacing of the grid per axis, common to the batch.
        map_index: map of the label bank, int64 ``(B,)``.
    """

    spacing_mm: tuple[float, ...]
    map_index: Tensor

    @overload
    def __getitem__(self, wanted: slice | Tensor) -> Self: ...
    @overload
    def __getitem__(self, wanted: type[AlwaysDrawn[P]]) -> P: ...
    @overload
    def __getitem__(self, wanted: type[Feature[P]]) -> P | None: ...
    def __getitem__(self, wanted: Any) -> Any:
        """The samples of a slice or of indices, or the parameters of a feature."""
        return getattr(self, _NAMES[wanted]) if isinstance(wanted, type) else Batch.__getitem__(self, wanted)

    def features(self) -> dict[type[Feature[Any]], Batch | None]:
        """What was drawn for every feature, by the class of the feature."""
        return {kind: getattr(self, name) for name, kind in FEATURES.items()}

    def follow_the_spine(self) -> bool:
        """Whether anything is drawn that is placed along the spine."""
        return any(getattr(self, name) is not None for name in _ALONG_SPINE)

    def look_at_borders(self) -> bool:
        """Whether anything is drawn that depends on the distance to a structure's border."""
        return any(getattr(self, name) is not None for name in _NEAR_BORDERS)
