"""Configuration of the generator: what may be drawn, and from which range.

Every default is written here; what anatomy fixes stands where it is drawn. Ranges are ``(low, high)`` of a
uniform distribution; a probability of 0 or a range of zeros switches a step off.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field

Range = tuple[float, float]

# Random fields are drawn on grids this coarse, so no kernel finer than that can be asked for.
FINEST_VELOCITY_MM = 12.0
FINEST_COARSE_MM = 12.0
FINEST_MEDIUM_MM = 4.5
FINEST_FINE_MM = 1.5
FINEST_TEXTURE_MM = 1.5
FINEST_BIAS_MM = 24.0


def _check(config: object) -> None:
    """Refuse reversed or non-finite ranges and probabilities outside 0..1, naming the field."""
    for entry in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, entry.name)
        where = f"{type(config).__name__}.{entry.name}"
        if isinstance(value, tuple) and len(value) == 2:
            if not all(isinstance(v, int | float) and abs(v) < float("inf") for v in value):
                raise ValueError(f"{where} is {value}; both ends must be finite numbers")
            if value[0] > value[1]:
                raise ValueError(f"{where} is {value}; the lower end must come first")
        if entry.name.endswith("probability") and not 0 <= value <= 1:
            raise ValueError(f"{where} is {value}; a probability lies in 0..1")


def _check_finest(config: object, **finest_mm: float) -> None:
    """Refuse correlation lengths below what the grid of their field can hold."""
    for name, least in finest_mm.items():
        value = getattr(config, name)
        if value[0] < least:
            raise ValueError(f"{type(config).__name__}.{name} is {value}; it must not go below {least} mm")


@dataclass(frozen=True, kw_only=True, slots=True)
class GeometryConfig:
    """Where anatomy moves: affine, diffeomorphic deformation, field of view."""

    scale: Range = (0.85, 1.15)
    """Magnification per axis."""
    rotation_deg: Range = (-15.0, 15.0)
    """Rotation in the sagittal plane, degrees."""
    tilt_deg: Range = (-5.0, 5.0)
    """Rotation about the two other axes (3D only), degrees."""
    shear: Range = (-0.05, 0.05)
    """Shear per pair of axes, mm per mm."""
    translation_mm: Range = (-12.0, 12.0)
    """Shift per axis, mm."""
    velocity_mm: Range = (0.0, 5.0)
    """Standard deviation of the stationary velocity field, mm."""
    velocity_correlation_mm: Range = (16.0, 48.0)
    """Standard deviation of the kernel that smooths the velocity field, mm."""
    crop_probability: float = 0.5
    """Probability of a smaller field of view."""
    crop_mm: Range = (0.0, 70.0)
    """What a smaller field of view loses in front, behind and at the head end, mm each (at most 30 % of
    the axis); never the foot end, where the counting of vertebrae starts."""

    def __post_init__(self) -> None:
        _check(self)
        _check_finest(self, velocity_correlation_mm=FINEST_VELOCITY_MM)
        if self.scale[0] <= 0:
            raise ValueError(f"GeometryConfig.scale is {self.scale}; a magnification is greater than 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class TissueConfig:
    """What is painted around and inside the labelled structures."""

    coarse_mm: Range = (14.0, 40.0)
    """Size of the largest random background regions, mm."""
    medium_mm: Range = (5.0, 12.0)
    """Size of the medium background regions, mm."""
    fine_mm: Range = (1.5, 4.0)
    """Size of the finest background regions, mm."""
    clutter: Range = (0.0, 0.45)
    """Share of the background that medium, and again fine, regions overpaint."""
    layers_probability: float = 0.85
    """Probability of body layers along the spine: muscle, fat and air behind, vessel and air in front."""
    muscle_mm: Range = (25.0, 60.0)
    """From the canal's centre to the end of the posterior muscle, mm."""
    fat_mm: Range = (3.0, 40.0)
    """Thickness of the fat under the skin behind, mm."""
    front_mm: Range = (70.0, 190.0)
    """From the canal's centre to the skin in front, mm."""
    vessel_probability: float = 0.5
    """Probability of a vessel in front of the vertebral bodies."""
    sacrum_probability: float = 0.85
    """Probability of an unlabelled sacrum: repeats of the lowest vertebra and disc below it."""
    cord_probability: float = 0.7
    """Probability of a cord inside the canal."""
    roots_probability: float = 0.7
    """Probability of nerve roots inside the canal, below the cord."""
    epidural_fat_probability: float = 0.6
    """Probability of patches of epidural fat around the canal."""
    outside_probability: float = 0.9
    """Probability that pixels that are not annotated (code 255) are black, as outside the field of view;
    otherwise they are painted as background."""

    def __post_init__(self) -> None:
        _check(self)
        _check_finest(self, coarse_mm=FINEST_COARSE_MM, medium_mm=FINEST_MEDIUM_MM, fine_mm=FINEST_FINE_MM)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastConfig:
    """Mean and spread of the intensity of every tissue."""

    random_probability: float = 0.5
    """Probability of a fully random contrast; otherwise the tissues follow measured T1 and T2 means."""
    alpha: Range = (0.0, 1.0)
    """Range of the position between T1 (0) and T2 (1)."""
    end_probability: float = 0.7
    """Probability that the position is one of the two ends of its range instead of between them."""
    spread: float = 1.0
    """Factor on the spread of tissue means about the T1/T2 means."""
    instance_jitter: Range = (0.0, 0.06)
    """Standard deviation of the difference between vertebrae, and between discs."""
    texture: Range = (0.0, 0.10)
    """Standard deviation of the texture inside a tissue."""
    texture_mm: Range = (1.5, 6.0)
    """Correlation length of the coarse part of the texture, mm."""
    rim_probability: float = 0.9
    """Probability of dark lines on borders: cortical bone, annulus, dura."""
    rim_mm: Range = (0.6, 1.4)
    """Standard deviation of the profile of these lines, mm."""

    def __post_init__(self) -> None:
        _check(self)
        _check_finest(self, texture_mm=FINEST_TEXTURE_MM)
        if self.alpha[0] < 0 or self.alpha[1] > 1:
            raise ValueError(f"ContrastConfig.alpha is {self.alpha}; 0 is T1, 1 is T2, beyond is undefined")


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtefactConfig:
    """What the scanner adds: shading, noise, motion."""

    bias_probability: float = 0.9
    """Probability of a bias field."""
    bias: Range = (0.0, 0.35)
    """Standard deviation of the logarithm of the bias field."""
    bias_mm: Range = (40.0, 120.0)
    """Correlation length of the bias field, mm."""
    coil_probability: float = 0.7
    """Probability of a surface coil's or saturation band's fall-off in front of the spine."""
    coil_floor: Range = (0.0, 0.6)
    """What is left of the signal far in front."""
    coil_width_mm: Range = (3.0, 50.0)
    """Width of the fall-off, mm; narrow is a saturation band."""
    noise_probability: float = 0.9
    """Probability of Rician noise."""
    noise: Range = (0.0, 0.08)
    """Standard deviation of the noise, as a share of the brightest tissue."""
    motion_probability: float = 0.1
    """Probability of motion, a blur along a random direction in the plane."""
    motion_mm: Range = (1.0, 6.0)
    """Length of that blur, mm."""

    def __post_init__(self) -> None:
        _check(self)
        _check_finest(self, bias_mm=FINEST_BIAS_MM)


@dataclass(frozen=True, kw_only=True, slots=True)
class AcquisitionConfig:
    """At which resolution the picture is taken."""

    native_probability: float = 0.5
    """Probability of the grid's own resolution."""
    isotropic_probability: float = 0.5
    """Of the others: probability that all axes get the same spacing instead of one axis alone."""
    factor: Range = (1.0, 4.0)
    """Acquired spacing over grid spacing."""
    thickness: Range = (0.6, 1.2)
    """Full width at half maximum of the point-spread function over the acquired spacing."""

    def __post_init__(self) -> None:
        _check(self)
        if self.factor[0] < 1:
            raise ValueError(f"AcquisitionConfig.factor is {self.factor}; 1 is the grid's own resolution")


@dataclass(frozen=True, kw_only=True, slots=True)
class IntensityConfig:
    """How intensities are displayed at the end."""

    gamma: Range = (-0.5, 0.5)
    """Logarithm of the exponent."""
    clip_low: Range = (0.0, 0.03)
    """Share of the darkest pixels that are clipped."""
    clip_high: Range = (0.0, 0.05)
    """Share of the brightest pixels that are clipped."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratorConfig:
    """Everything the generator may draw."""

    spacing_mm: float = 1.0
    """Spacing of the label maps' grid in the sagittal plane, mm."""
    slice_spacing_mm: float = 4.0
    """Spacing between sagittal slices (3D only), mm."""
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    tissues: TissueConfig = field(default_factory=TissueConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    artefacts: ArtefactConfig = field(default_factory=ArtefactConfig)
    acquisition: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    intensity: IntensityConfig = field(default_factory=IntensityConfig)

    def __post_init__(self) -> None:
        _check(self)
        if not (self.spacing_mm > 0 and self.slice_spacing_mm > 0):
            raise ValueError(f"spacings are {self.spacing_mm} and {self.slice_spacing_mm}; both must be > 0")


def config_to_json(config: GeneratorConfig) -> str:
    """The configuration as JSON with sorted keys."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def config_hash(config: GeneratorConfig) -> str:
    """SHA-256 of the JSON form, hexadecimal: equal for equal configurations."""
    return hashlib.sha256(config_to_json(config).encode()).hexdigest()
