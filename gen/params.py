"""Every random decision of a batch of samples: what is written beside a picture, and renders it again."""

from dataclasses import dataclass

from torch import Tensor

from gen.acquisition import ResolutionParams
from gen.affine import AffineParams
from gen.arches import ArchParams
from gen.background import BackgroundParams
from gen.body_layers import BodyLayersParams
from gen.borders import CortexParams
from gen.bowel import BowelParams
from gen.canal import CanalParams, EpiduralFatParams
from gen.chemical_shift import ChemicalShiftParams
from gen.contrast import ContrastParams
from gen.deformation import DeformationParams
from gen.discs import DiscParams
from gen.display import ClipParams, CurveParams, GammaParams, InversionParams
from gen.end_plates import ModicParams, SchmorlParams
from gen.fat_pads import FatPadsParams
from gen.flip import FlipParams
from gen.floor import FloorParams
from gen.flow_void import FlowVoidParams
from gen.ghosting import GhostingParams
from gen.gibbs import GibbsParams
from gen.hidden import HiddenParams
from gen.implant import ImplantParams
from gen.kspace_motion import KSpaceMotionParams
from gen.lesions import HaemangiomaParams
from gen.motion_blur import MotionBlurParams
from gen.noise import NoiseParams
from gen.outside import OutsideParams
from gen.partial_volume import PartialVolumeParams
from gen.record import Batch
from gen.sacrum import SacrumParams
from gen.shading import BiasParams, CoilParams
from gen.spike import SpikeParams
from gen.texture import TextureParams
from gen.view import FieldOfViewParams
from gen.wrap import WrapParams
from gen.zipper import ZipperParams


@dataclass(frozen=True, kw_only=True, slots=True)
class Params(Batch):
    """All decisions of a batch; a feature that its configuration leaves out is None.

    Attributes:
        spacing_mm: spacing of the grid per axis, common to the batch.
        map_index: map of the label bank, int64 ``(B,)``.

        tone: gamma where the configuration wants it before acquisition; ``gamma`` is None then.

    The others are named as in ``GeneratorConfig``, and explained beside their features.
    """

    spacing_mm: tuple[float, ...]
    map_index: Tensor
    affine: AffineParams
    deformation: DeformationParams | None
    flip: FlipParams | None
    view: FieldOfViewParams | None
    background: BackgroundParams | None
    body_layers: BodyLayersParams | None
    bowel: BowelParams | None
    sacrum: SacrumParams | None
    floor: FloorParams | None
    canal: CanalParams | None
    epidural_fat: EpiduralFatParams | None
    fat_pads: FatPadsParams | None
    discs: DiscParams | None
    modic: ModicParams | None
    haemangioma: HaemangiomaParams | None
    schmorl: SchmorlParams | None
    hidden: HiddenParams | None
    outside: OutsideParams | None
    contrast: ContrastParams
    arches: ArchParams | None
    partial_volume: PartialVolumeParams | None
    texture: TextureParams | None
    cortex: CortexParams | None
    implant: ImplantParams | None
    flow_void: FlowVoidParams | None
    chemical_shift: ChemicalShiftParams | None
    coil: CoilParams | None
    bias: BiasParams | None
    tone: GammaParams | None
    wrap: WrapParams | None
    kspace_motion: KSpaceMotionParams | None
    ghosting: GhostingParams | None
    gibbs: GibbsParams | None
    spike: SpikeParams | None
    motion_blur: MotionBlurParams | None
    resolution: ResolutionParams | None
    noise: NoiseParams | None
    zipper: ZipperParams | None
    clip: ClipParams | None
    gamma: GammaParams | None
    curve: CurveParams | None
    inversion: InversionParams | None

    def follow_the_spine(self) -> bool:
        """Whether anything is drawn that is placed along the spine."""
        placed = (
            self.body_layers,
            self.bowel,
            self.sacrum,
            self.floor,
            self.canal,
            self.epidural_fat,
            self.fat_pads,
            self.arches,
        )
        return any(feature is not None for feature in (*placed, self.schmorl, self.implant, self.coil))

    def look_at_borders(self) -> bool:
        """Whether anything is drawn that depends on the distance to a structure's border."""
        near = (self.epidural_fat, self.discs, self.modic, self.haemangioma, self.schmorl, self.cortex)
        return any(feature is not None for feature in near)
