"""The query of a preview: plain numbers, and any setting of the generator by its dotted name."""

import dataclasses
import json
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field

from synthspine.gen import GeneratorConfig, config_from_text, config_to_json, preset
from synthspine.gen.config import config_changes, flat, nested, plain, without_geometry
from synthspine.gen.geometry.deformation import STRONGEST_VELOCITY
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.presets import PRESETS

_DEEPEST = 16
"""Most levels of a setting by its name, and most lists and objects in a value."""
_NUMBER = re.compile(r"\s*[\d.eE+-]+\s*")

Show = Literal["both", "image", "label", "overlay"]


def _slider(meaning: str, least: float, greatest: float) -> Any:
    return Field(None, ge=least, le=greatest, description=meaning)


def _integer(default: int | None, meaning: str) -> Any:
    return Field(default, ge=0, le=2**31 - 1, description=meaning)


class PreviewQuery(BaseModel, extra="allow"):
    """Parameters of a preview. Further names are settings of the generator: ``noise.level=0..0.1``."""

    preset: str | None = Field(
        None,
        description="Base of the configuration; default: that of the service",
        json_schema_extra={"enum": list(PRESETS)},
    )
    features: Literal["all", "none"] = Field(
        "all", description="none: label maps in place, one grey value per tissue"
    )
    alpha: float | None = _slider("Contrast between T1 (0) and T2 (1)", 0, 1)
    noise: float | None = _slider("Standard deviation of the noise, relative to the brightest tissue", 0, 0.3)
    bias: float | None = _slider("Standard deviation of the logarithm of the bias field", 0, 1.5)
    spacing: float | None = _slider("Acquired spacing divided by that of the grid", 1, 8)
    blur: float | None = _slider("Factor on the width of the point-spread function", 0, 4)
    deformation: float | None = _slider("Standard deviation of the velocity, mm; 0: geometry is off", 0, 10)
    seed: int | None = _integer(None, "Seed of the sample; default: that of the service")
    index: int = _integer(0, "Number of the sample")
    map: int | None = _integer(None, "Number of the label map; default: the one that shows most of the canal")
    show: Show = Field("both", description="Label map and image side by side, one of them, or both overlaid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """A preview with nothing left to choose; ``map`` is the number of the label map."""

    config: GeneratorConfig
    seed: int
    index: int
    map: int
    show: Show


def resolve(
    query: PreviewQuery, base: GeneratorConfig, *, seed: int, maps: int, default_map: int = 0
) -> Preview:
    """The preview that a query requests, with defaults for preset, seed and label map (one of ``maps``).

    Parameters are applied in this order: ``preset``, ``features``, sliders, settings by dotted name
    (``noise.level=[0,0.1]``, ``gibbs.probability=1``).

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: an unknown name, or a value out of bounds; the text says what would be right.
    """
    settings = query.model_extra or {}
    groups = {entry.name for entry in dataclasses.fields(GeneratorConfig)}
    for name, text in settings.items():
        if name.count(".") > _DEEPEST or text.count("[") + text.count("{") > _DEEPEST:
            raise ValueError(f"{name[:40]}: nested too deep")
        if name.partition(".")[0] not in groups:
            known = ", ".join(sorted(PreviewQuery.model_fields))
            raise ValueError(f"{name}: no such parameter; there are {known}, and dotted settings")
    number = default_map if query.map is None else query.map
    if number >= maps:
        raise ValueError(f"map is {number}; there are {maps} label maps, so 0 to {maps - 1} are possible")
    config = base if query.preset is None else preset(query.preset, spacing_mm=base.spacing_mm)
    if query.features == "none":
        config = plain(config)
    if query.alpha is not None:
        config = replace(config, contrast=measured_contrast(query.alpha, config.contrast))
    if query.deformation == 0:
        config = without_geometry(config)
    values = _slider_settings(query, config) | {name: _value(text) for name, text in settings.items()}
    return Preview(
        config=config_from_text(yaml.safe_dump(nested(values)), config),
        seed=seed if query.seed is None else query.seed,
        index=query.index,
        map=number,
        show=query.show,
    )


def changes_as_yaml(config: GeneratorConfig) -> str:
    """Settings that differ from the preset ``spine``, as YAML: a file for ``--preset``."""
    changes = json.loads(json.dumps(nested(config_changes(config, preset("spine")))))
    return yaml.safe_dump(changes, sort_keys=False, default_flow_style=None) if changes else ""


def python_call(preview: Preview, labels: str) -> str:
    """Python code that makes the same image and label map from the label maps at a path or URL."""
    return f'''from synthspine import SpineSynthGenerator, preset
from synthspine.gen import config_from_text
from synthspine.shards import open_set

config = config_from_text("""
{changes_as_yaml(preview.config)}""", preset("spine"))
generator = SpineSynthGenerator(config=config, labels="dense", seed={preview.seed})
label_maps = open_set({labels!r}).read().labels[:, None]
image, label = generator.sample(label_maps, indices=[{preview.index}], maps=[{preview.map}])
'''


def dotted_settings() -> dict[str, Any]:
    """Every setting by dotted name, with its value in the preset ``spine`` as JSON has it."""
    return flat(json.loads(config_to_json(preset("spine"))))


def _slider_settings(query: PreviewQuery, config: GeneratorConfig) -> dict[str, Any]:
    """The settings, by dotted name, that stand for the plain numbers of a query."""
    settings: dict[str, Any] = {}
    if query.noise is not None:
        settings["noise.probability"] = float(query.noise > 0)
        settings["noise.level"] = [query.noise] * 2
    if query.bias is not None:
        settings["bias.probability"] = float(query.bias > 0)
        settings["bias.log_std"] = [query.bias] * 2
        if query.bias == 0:
            settings["coil.probability"] = 0.0
    if query.spacing is not None:
        settings["resolution.native_probability"] = float(query.spacing == 1)
        settings["resolution.isotropic_probability"] = 1.0
        settings["resolution.isotropic"] = [query.spacing] * 2
    if query.blur is not None:
        settings["resolution.sigma_factor"] = [query.blur] * 2
        if config.resolution.native_sigma == 0:
            # The usual width in place of 0, which no factor changes.
            settings["resolution.native_sigma"] = None
    if query.deformation:
        shortest, longest = config.deformation.velocity_correlation_mm
        shortest = max(shortest, query.deformation / STRONGEST_VELOCITY)
        settings["deformation.probability"] = 1.0
        settings["deformation.velocity_mm"] = [query.deformation] * 2
        settings["deformation.velocity_correlation_mm"] = [shortest, max(shortest, longest)]
    return settings


def _value(text: str) -> Any:
    # A range has the form that the page shows: 0..0.08.
    ends = text.split("..", maxsplit=1)
    try:
        if len(ends) == 2 and all(map(_NUMBER.fullmatch, ends)):
            return [float(end) for end in ends]
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
