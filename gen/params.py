"""Every random decision of a batch of samples: the record of a picture, which renders it again."""

from dataclasses import dataclass

from torch import Tensor

from synthspine.gen.core.feature import Batch
from synthspine.gen.geometry.affine import AffineParams
from synthspine.gen.geometry.deformation import DeformationParams
from synthspine.gen.geometry.field_of_view import FieldOfViewParams
from synthspine.gen.geometry.flip import FlipParams
from synthspine.gen.intensity.contrast import ContrastParams
from synthspine.gen.intensity.cortex import CortexParams
from synthspine.gen.intensity.flow_void import FlowVoidParams
from synthspine.gen.intensity.hidden_labels import HiddenParams
from synthspine.gen.intensity.partial_volume import PartialVolumeParams
from synthspine.gen.intensity.posterior_arch import ArchParams
from synthspine.gen.intensity.texture import TextureParams
from synthspine.gen.scanner.acquisition import ResolutionParams
from synthspine.gen.scanner.chemical_shift import ChemicalShiftParams
from synthspine.gen.scanner.display import ClipParams, CurveParams, GammaParams, InversionParams
from synthspine.gen.scanner.implant import ImplantParams
from synthspine.gen.scanner.kspace import GibbsParams, SpikeParams
from synthspine.gen.scanner.motion import GhostingParams, KSpaceMotionParams, MotionBlurParams
from synthspine.gen.scanner.noise import NoiseParams, ZipperParams
from synthspine.gen.scanner.shading import BiasParams, CoilParams
from synthspine.gen.scanner.wrap import WrapParams
from synthspine.gen.tissues.background import BackgroundParams
from synthspine.gen.tissues.body_layers import BodyLayersParams
from synthspine.gen.tissues.bowel import BowelParams
from synthspine.gen.tissues.canal import CanalParams, EpiduralFatParams, FatPadsParams
from synthspine.gen.tissues.discs import DiscParams
from synthspine.gen.tissues.lesions import HaemangiomaParams, ModicParams, SchmorlParams
from synthspine.gen.tissues.pelvis import FloorParams, SacrumParams
from synthspine.gen.tissues.unannotated import OutsideParams


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
