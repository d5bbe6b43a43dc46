"""How the features of a configuration are drawn, each by itself or after those it depends on.

A feature is a configuration, ``XConfig(Feature[XParams])``, that draws the parameters ``XParams``, and a
function that applies them. A field of ``XParams`` with the name of a field of ``XConfig`` holds what was
drawn from it, ``(B,)``, or the value without effect where a sample lacks the feature; the class describes
the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast, get_args, get_origin, overload

from torch import Tensor

from synthspine.gen.core.counter_rng import SampleRandom
from synthspine.gen.core.feature import Batch, Config

P = TypeVar("P", bound=Batch)


class Showcase(NamedTuple):
    """How the gallery shows a feature; see :func:`showcase`."""

    settings: Mapping[str, Any]
    close: str
    also: Mapping[str, Mapping[str, Any]]
    without_canal: bool


def showcase(
    close: str = "",
    also: Mapping[str, Mapping[str, Any]] | None = None,
    without_canal: bool = False,
    **settings: Any,
) -> Showcase:
    """How the gallery shows a feature: always on, at or near its strongest.

    Args:
        close: structure at the centre of a close view, one of ``eval.gallery``'s; "" for none.
        also: settings of other features in both pictures, by their names.
        without_canal: whether the label map has no canal, as in slices beside the spine.
        settings: of the feature itself; its probability is 1.
    """
    return Showcase(settings, close, also or {}, without_canal)


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature(Config, Generic[P]):
    """Configuration of a feature, which draws its parameters ``P``."""

    along_spine: ClassVar[bool] = False
    """Whether it is placed along the spine, which is looked for then."""
    near_borders: ClassVar[bool] = False
    """Whether it depends on the distance to a structure's border, which is measured then."""
    hidden_with: ClassVar[tuple[str, ...]] = ()
    """A structure (``STRUCTURES``), and the parameters ``(B,)`` that are 0 where it is hidden."""
    shown: ClassVar[Showcase] = showcase()

    def never(self) -> bool:
        """Whether the configuration leaves the feature out: by default, where its probability is 0."""
        return getattr(self, "probability", 1.0) == 0.0

    def draw(self, random: "Drawing") -> P | None:
        """Draw the parameters of every sample; None if the configuration leaves the feature out."""
        return None if self.never() else self.sample(random)

    def sample(self, random: "Drawing") -> P | None:
        """Draw the parameters of every sample, where the feature is not left out; None for none after all."""
        raise NotImplementedError(f"{type(self).__name__}.sample")

    def settle(self, own: P, drawing: "Drawing") -> P | None:
        """What was drawn, as other features leave it once all are drawn."""
        return own

    @classmethod
    def params(cls) -> type[P]:
        """The class of its parameters."""
        bases = [base for base in cls.__orig_bases__ if issubclass(get_origin(base), Feature)]  # type: ignore[attr-defined]
        return cast(type[P], get_args(bases[0])[0])


class AlwaysDrawn(Feature[P]):
    """A feature that every configuration has."""

    __slots__ = ()

    def never(self) -> bool:
        """It is never left out."""
        return False


class Drawing(SampleRandom):
    """The random numbers of a batch, and the features that are drawn with them, each when first asked for.

    Args:
        keys: int32, shape ``(B, 2)``, from :func:`sample_keys`.
        memory: as of :class:`SampleRandom`.
        features: the features of a configuration by name; a feature that is not among them is not drawn.
        spacing_mm: grid spacing per axis, mm: of two or three axes.
    """

    def __init__(
        self,
        keys: Tensor,
        memory: dict[str, int] | None = None,
        features: Mapping[str, Feature[Any]] | None = None,
        spacing_mm: tuple[float, ...] = (1.0, 1.0),
    ) -> None:
        super().__init__(keys, memory)
        self.features: Mapping[str, Feature[Any]] = features or {}
        self.spacing_mm = spacing_mm
        self.drawn: dict[str, Batch | None] = {}

    def named(self, name: str) -> Batch | None:
        """The parameters of the feature of that name; None where it is left out.

        Raises:
            RecursionError: two features are drawn from each other.
        """
        if name not in self.drawn:
            feature = self.features.get(name)
            self.drawn[name] = None if feature is None else feature.draw(self)
        return self.drawn[name]

    @overload
    def __getitem__(self, kind: type[AlwaysDrawn[P]]) -> P: ...
    @overload
    def __getitem__(self, kind: type[Feature[P]]) -> P | None: ...
    def __getitem__(self, kind: type[Feature[Any]]) -> Any:
        """The parameters of the feature of that class; None where it is left out."""
        for name, feature in self.features.items():
            if feature.__class__ is kind:
                return self.named(name)
        return None

    def value(self, path: str) -> Tensor:
        """A drawn value by its path in the records: ``contrast.alpha``; for features of later rooms.

        Raises:
            AttributeError: there is none of that name, or its feature is left out.
        """
        name, rest = path.split(".", 1)
        return cast(Tensor, attrgetter(rest)(self.named(name)))

    def all(self) -> dict[str, Batch | None]:
        """The parameters of every feature by name, settled."""
        for name, feature in self.features.items():
            if name not in self.drawn:
                self.drawn[name] = feature.draw(self)
        for name, feature in self.features.items():
            if (own := self.drawn[name]) is not None:
                self.drawn[name] = feature.settle(own, self)
        return {name: self.drawn[name] for name in self.features}
