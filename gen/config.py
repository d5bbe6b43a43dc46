"""Configuration of the generator: one dataclass per feature, each beside its code, gathered here.

A feature whose probability is 0 is left out: nothing is drawn for it and its step costs nothing. The
defaults are those of the preset ``spine``.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

from gen.acquisition import ResolutionConfig
from gen.affine import AffineConfig
from gen.arches import ArchConfig
from gen.background import BackgroundConfig
from gen.body_layers import BodyLayersConfig
from gen.borders import CortexConfig
from gen.bowel import BowelConfig
from gen.canal import CanalConfig, EpiduralFatConfig
from gen.chemical_shift import ChemicalShiftConfig
from gen.contrast import ContrastConfig
from gen.deformation import DeformationConfig
from gen.discs import DiscConfig
from gen.display import ClipConfig, CurveConfig, GammaConfig, InversionConfig
from gen.end_plates import ModicConfig, SchmorlConfig
from gen.fat_pads import FatPadsConfig
from gen.flip import FlipConfig
from gen.floor import FloorConfig
from gen.flow_void import FlowVoidConfig
from gen.ghosting import GhostingConfig
from gen.gibbs import GibbsConfig
from gen.hidden import HiddenConfig
from gen.implant import ImplantConfig
from gen.kspace_motion import KSpaceMotionConfig
from gen.lesions import HaemangiomaConfig
from gen.motion_blur import MotionBlurConfig
from gen.noise import NoiseConfig
from gen.outside import OutsideConfig
from gen.partial_volume import PartialVolumeConfig
from gen.sacrum import SacrumConfig
from gen.settings import check, check_within
from gen.shading import BiasConfig, CoilConfig
from gen.spatial import identity_geometry
from gen.spike import SpikeConfig
from gen.texture import TextureConfig
from gen.view import FieldOfViewConfig
from gen.wrap import WrapConfig
from gen.zipper import ZipperConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorConfig:
    """Everything the generator may draw, about in the order in which it is applied (``gen.generator``)."""

    spacing_mm: float = 1.0
    """Spacing of the label maps' grid in the sagittal plane, mm."""
    slice_spacing_mm: float = 4.0
    """Spacing between sagittal slices (3D only), mm."""

    affine: AffineConfig = field(default_factory=AffineConfig)
    deformation: DeformationConfig = field(default_factory=DeformationConfig)
    flip: FlipConfig = field(default_factory=FlipConfig)
    view: FieldOfViewConfig = field(default_factory=FieldOfViewConfig)

    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    body_layers: BodyLayersConfig = field(default_factory=BodyLayersConfig)
    bowel: BowelConfig = field(default_factory=BowelConfig)
    sacrum: SacrumConfig = field(default_factory=SacrumConfig)
    floor: FloorConfig = field(default_factory=FloorConfig)
    canal: CanalConfig = field(default_factory=CanalConfig)
    epidural_fat: EpiduralFatConfig = field(default_factory=EpiduralFatConfig)
    fat_pads: FatPadsConfig = field(default_factory=FatPadsConfig)
    discs: DiscConfig = field(default_factory=DiscConfig)
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

    def __post_init__(self) -> None:
        check(self)
        check_within(self, spacing_mm=(0.05, 20.0), slice_spacing_mm=(0.05, 100.0))


def without_geometry(config: GeneratorConfig) -> GeneratorConfig:
    """The same configuration, but anatomy and field of view stay exactly where the label map has them."""
    return replace(
        config,
        **identity_geometry(),
        view=replace(config.view, probability=0.0),
        discs=replace(config.discs, degenerated_probability=0.0),
    )


def plain(config: GeneratorConfig) -> GeneratorConfig:
    """The same configuration without its features: label maps in their place, one grey value per tissue.

    What is left is the contrast. A feature of ``config`` put back in (``replace``) shows what it does.
    """
    features = {
        entry.name: _off(getattr(config, entry.name))
        for entry in fields(config)
        if entry.name not in ("affine", "contrast", "resolution", "spacing_mm", "slice_spacing_mm")
    }
    sharp = ResolutionConfig(native_probability=1.0, native_sigma=0.0)
    return without_geometry(replace(config, resolution=sharp, **features))


def _off(feature: Any) -> Any:
    chances = [entry.name for entry in fields(feature) if entry.name.endswith("probability")]
    return replace(feature, **dict.fromkeys(chances, 0.0))
