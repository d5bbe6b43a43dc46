"""Configuration of the generator: one dataclass per feature, each beside its code, gathered here.

A feature whose probability is 0 is left out: nothing is drawn for it and its step costs nothing. The
defaults are those of the preset ``spine``.
"""

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

import yaml

from synthspine.gen.core.documents import parse_yaml
from synthspine.gen.core.feature import Config, within
from synthspine.gen.geometry.affine import AffineConfig
from synthspine.gen.geometry.deformation import DeformationConfig
from synthspine.gen.geometry.field_of_view import FieldOfViewConfig
from synthspine.gen.geometry.flip import FlipConfig
from synthspine.gen.geometry.pathology import PathologyConfig
from synthspine.gen.intensity.contrast import ContrastConfig
from synthspine.gen.intensity.cortex import CortexConfig
from synthspine.gen.intensity.flow_void import FlowVoidConfig
from synthspine.gen.intensity.hidden_labels import HiddenConfig
from synthspine.gen.intensity.partial_volume import PartialVolumeConfig
from synthspine.gen.intensity.posterior_arch import ArchConfig
from synthspine.gen.intensity.texture import TextureConfig
from synthspine.gen.scanner.acquisition import ResolutionConfig
from synthspine.gen.scanner.chemical_shift import ChemicalShiftConfig
from synthspine.gen.scanner.display import ClipConfig, CurveConfig, GammaConfig, InversionConfig, Tone
from synthspine.gen.scanner.implant import ImplantConfig
from synthspine.gen.scanner.kspace import GibbsConfig, SpikeConfig
from synthspine.gen.scanner.motion import GhostingConfig, KSpaceMotionConfig, MotionBlurConfig
from synthspine.gen.scanner.noise import NoiseConfig, ZipperConfig
from synthspine.gen.scanner.shading import BiasConfig, CoilConfig
from synthspine.gen.scanner.wrap import WrapConfig
from synthspine.gen.tissues.background import BackgroundConfig
from synthspine.gen.tissues.beside import BesideConfig
from synthspine.gen.tissues.body_layers import BodyLayersConfig
from synthspine.gen.tissues.bowel import BowelConfig
from synthspine.gen.tissues.canal import CanalConfig
from synthspine.gen.tissues.discs import DiscConfig
from synthspine.gen.tissues.fat import EpiduralFatConfig, FatPadsConfig, FrontFatConfig
from synthspine.gen.tissues.lesions import HaemangiomaConfig, ModicConfig, SchmorlConfig
from synthspine.gen.tissues.pelvis import FloorConfig, SacrumConfig
from synthspine.gen.tissues.rim import RimConfig
from synthspine.gen.tissues.unannotated import OutsideConfig
from synthspine.gen.tissues.waist import WaistConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorConfig(Config):
    """Everything the generator may draw, about in the order in which it is applied (``gen.generator``)."""

    spacing_mm: float = 1.0
    """Spacing of the label maps' grid in the sagittal plane, mm."""
    slice_spacing_mm: float = 4.0
    """Spacing between sagittal slices (3D only), mm."""

    affine: AffineConfig = field(default_factory=AffineConfig)
    deformation: DeformationConfig = field(default_factory=DeformationConfig)
    flip: FlipConfig = field(default_factory=FlipConfig)
    pathology: PathologyConfig = field(default_factory=PathologyConfig)
    view: FieldOfViewConfig = field(default_factory=FieldOfViewConfig)

    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    body_layers: BodyLayersConfig = field(default_factory=BodyLayersConfig)
    beside: BesideConfig = field(default_factory=BesideConfig)
    bowel: BowelConfig = field(default_factory=BowelConfig)
    sacrum: SacrumConfig = field(default_factory=SacrumConfig)
    floor: FloorConfig = field(default_factory=FloorConfig)
    canal: CanalConfig = field(default_factory=CanalConfig)
    epidural_fat: EpiduralFatConfig = field(default_factory=EpiduralFatConfig)
    fat_pads: FatPadsConfig = field(default_factory=FatPadsConfig)
    front_fat: FrontFatConfig = field(default_factory=FrontFatConfig)
    discs: DiscConfig = field(default_factory=DiscConfig)
    rim: RimConfig = field(default_factory=RimConfig)
    waist: WaistConfig = field(default_factory=WaistConfig)
    modic: ModicConfig = field(default_factory=ModicConfig)
    haemangioma: HaemangiomaConfig = field(default_factory=HaemangiomaConfig)
    schmorl: SchmorlConfig = field(default_factory=SchmorlConfig)
    hidden: HiddenConfig = field(default_factory=HiddenConfig)
    outside: OutsideConfig = field(default_factory=OutsideConfig)

    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    arches: ArchConfig = field(default_factory=ArchConfig)
    partial_volume: PartialVolumeConfig = field(default_factory=PartialVolumeConfig)
    texture: TextureConfig = field(default_factory=TextureConfig)
    cortex: CortexConfig = field(default_factory=CortexConfig)
    implant: ImplantConfig = field(default_factory=ImplantConfig)

    flow_void: FlowVoidConfig = field(default_factory=FlowVoidConfig)
    chemical_shift: ChemicalShiftConfig = field(default_factory=ChemicalShiftConfig)
    coil: CoilConfig = field(default_factory=CoilConfig)
    bias: BiasConfig = field(default_factory=BiasConfig)
    tone: ClassVar[Tone] = Tone()
    wrap: WrapConfig = field(default_factory=WrapConfig)
    kspace_motion: KSpaceMotionConfig = field(default_factory=KSpaceMotionConfig)
    ghosting: GhostingConfig = field(default_factory=GhostingConfig)
    gibbs: GibbsConfig = field(default_factory=GibbsConfig)
    spike: SpikeConfig = field(default_factory=SpikeConfig)
    motion_blur: MotionBlurConfig = field(default_factory=MotionBlurConfig)
    resolution: ResolutionConfig = field(default_factory=ResolutionConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    zipper: ZipperConfig = field(default_factory=ZipperConfig)

    clip: ClipConfig = field(default_factory=ClipConfig)
    gamma: GammaConfig = field(default_factory=GammaConfig)
    curve: CurveConfig = field(default_factory=CurveConfig)
    inversion: InversionConfig = field(default_factory=InversionConfig)

    bounds = within(spacing_mm=(0.05, 20.0), slice_spacing_mm=(0.05, 100.0))


def without_geometry(config: GeneratorConfig) -> GeneratorConfig:
    """The same configuration, but anatomy and field of view stay exactly where the label map has them."""
    none = (0.0, 0.0)
    return replace(
        config,
        affine=AffineConfig(
            scale=(1.0, 1.0), rotation_deg=none, tilt_deg=none, shear=none, translation_mm=none
        ),
        deformation=DeformationConfig(probability=0.0),
        flip=FlipConfig(left_right_probability=0.0),
        pathology=PathologyConfig(slip_probability=0.0, wedge_probability=0.0, laminectomy_probability=0.0),
        view=replace(config.view, probability=0.0),
        discs=replace(config.discs, degenerated_probability=0.0),
    )


def plain(config: GeneratorConfig) -> GeneratorConfig:
    """The same configuration without its features: label maps in place, one grey value per tissue.

    Only the contrast is left. A feature of ``config`` put back in (``replace``) shows its effect.
    """
    features: dict[str, Any] = {"resolution": ResolutionConfig(native_probability=1.0, native_sigma=0.0)}
    for entry in fields(config):
        if entry.name not in ("affine", "contrast", "resolution", "spacing_mm", "slice_spacing_mm"):
            feature = getattr(config, entry.name)
            chances = [part.name for part in fields(feature) if part.name.endswith("probability")]
            features[entry.name] = replace(feature, **dict.fromkeys(chances, 0.0))
    return without_geometry(replace(config, **features))


AnyConfig = TypeVar("AnyConfig")


def config_to_json(config: Any) -> str:
    """A configuration dataclass as JSON with sorted keys."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def config_hash(config: Any) -> str:
    """SHA-256 of the JSON form, hexadecimal: equal for equal configurations."""
    return hashlib.sha256(config_to_json(config).encode()).hexdigest()


def config_to_yaml(config: Any) -> str:
    """A configuration dataclass as YAML, in the order of its fields, ranges on one line."""
    return yaml.safe_dump(
        json.loads(json.dumps(dataclasses.asdict(config))), sort_keys=False, default_flow_style=None
    )


def config_from_text(text: str, base: AnyConfig) -> AnyConfig:
    """``base`` with the values that YAML or JSON text names.

    Args:
        text: YAML, of which JSON is a part; what it leaves out stays as in ``base``.
        base: a configuration dataclass.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: not YAML, too large or nested too deep, an unknown key (the message names the nearest
            valid one), or a value out of bounds.
    """
    if not isinstance(text, str):
        raise TypeError(f"the configuration is {text!r}; want text")
    try:
        values = parse_yaml(text)
    except ValueError as error:
        raise ValueError(f"the configuration is {error}") from error
    return _changed(base, {} if values is None else values, "")


def config_diff(config: Any, base: Any) -> list[str]:
    """What ``config`` changes against ``base``, one line per value: ``noise.probability: 0.9 -> 0.0``."""
    before = flat(dataclasses.asdict(base))
    return [
        f"{name}: {_short(before[name])} -> {_short(value)}"
        for name, value in config_changes(config, base).items()
    ]


def config_changes(config: Any, base: Any) -> dict[str, Any]:
    """The values of ``config`` that differ from those of ``base``, by dotted name."""
    before = flat(dataclasses.asdict(base))
    return {name: value for name, value in flat(dataclasses.asdict(config)).items() if value != before[name]}


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Values of nested dictionaries by dotted name: ``{"noise": {"level": 1}}`` as ``{"noise.level": 1}``."""
    dotted: dict[str, Any] = {}
    for name, value in values.items():
        dotted |= flat(value, f"{path}{name}.") if isinstance(value, Mapping) else {f"{path}{name}": value}
    return dotted


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`flat`.

    Raises:
        ValueError: a name is a value and a group of values at once.
    """
    values: dict[str, Any] = {}
    for name, value in dotted.items():
        *path, last = name.split(".")
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{name}: a part of it is set by another parameter")
        if last in inner:
            raise ValueError(f"{name}: a part of it is set by another parameter")
        inner[last] = value
    return values


def _changed(base: AnyConfig, values: Any, path: str) -> AnyConfig:
    if not isinstance(values, dict):
        raise TypeError(f"{path or 'the configuration'} is {values!r}; want names with values")
    known = [entry.name for entry in fields(base)]  # type: ignore[arg-type]
    changes = {}
    for name, value in values.items():
        where = f"{path}.{name}" if path else str(name)
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"there is no setting {where!r}; {hint}")
        present = getattr(base, name)
        changes[name] = (
            _changed(present, value, where) if dataclasses.is_dataclass(present) else _plain(value)
        )
    try:
        return dataclasses.replace(base, **changes)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}" if path and path not in str(error) else str(error)) from error


def _plain(value: Any) -> Any:
    """Lists of text as tuples, all the way down."""
    return tuple(_plain(entry) for entry in value) if isinstance(value, list) else value


def _short(value: Any) -> str:
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(end, int | float) for end in value):
        return f"{value[0]:g}..{value[1]:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
