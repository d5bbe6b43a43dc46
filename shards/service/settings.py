"""What a preview shows, as the query of a URL says it: plain numbers, and any setting by dotted name."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import yaml

from synthspine.gen import GeneratorConfig, config_from_text, config_to_json, preset
from synthspine.gen.config import config_changes, flat, nested, plain, without_geometry
from synthspine.gen.geometry.deformation import STRONGEST_VELOCITY
from synthspine.gen.intensity.contrast import measured_contrast

Show = Literal["both", "image", "label", "overlay"]
Features = Literal["all", "none"]

LONGEST_VALUE = 200
"""Characters of a value in a query."""
_GREATEST_NUMBER = 2**31 - 1
_SPREAD = re.compile(r"\s*(-?[\d.eE+-]+?)\.\.(-?[\d.eE+-]+)\s*")
"""A range as it is shown: ``0..0.08``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One preview.

    Attributes:
        config: of the generator.
        seed: of the draw.
        index: number of the sample.
        map: number of the label map.
        show: label map and picture side by side, one of them, or the labels over the picture.
    """

    config: GeneratorConfig
    seed: int
    index: int
    map: int
    show: Show


SLIDERS: dict[str, tuple[str, float, float]] = {
    "alpha": ("Contrast between T1 (0) and T2 (1)", 0.0, 1.0),
    "noise": ("Standard deviation of the noise, share of the brightest tissue", 0.0, 0.3),
    "bias": ("Standard deviation of the logarithm of the bias field", 0.0, 1.5),
    "spacing": ("Acquired spacing over that of the grid", 1.0, 8.0),
    "blur": ("Factor on the width of the point-spread function", 0.0, 4.0),
    "deformation": (
        "Standard deviation of the velocity of the deformation, mm; 0 holds all still",
        0.0,
        10.0,
    ),
}
"""Plain names of what can be set: meaning, least and greatest value."""


def look_of(
    query: Mapping[str, str], base: GeneratorConfig, *, seed: int, maps: int, usual_map: int = 0
) -> Look:
    """What a query asks for.

    Names are applied in this order: ``preset``, ``features``, those of ``SLIDERS``, and dotted names of any
    setting (``noise.level=[0,0.1]``, ``gibbs.probability=1``).

    Args:
        query: names and values.
        base: the configuration where no preset is named.
        seed: where none is named.
        maps: number of label maps.
        usual_map: where none is named.

    Raises:
        TypeError: a value of the wrong kind.
        ValueError: an unknown name, or a value out of bounds; the text says what would be right.
    """
    plainly = {"preset", "features", "show", "seed", "index", "map", *SLIDERS}
    tops = {entry.name for entry in dataclasses.fields(GeneratorConfig)}
    for name, value in query.items():
        if name not in plainly and name.partition(".")[0] not in tops:
            raise ValueError(
                f"{name}: no such parameter; there are {', '.join(sorted(plainly))}, and dotted settings"
            )
        if len(value) > LONGEST_VALUE:
            raise ValueError(f"{name}: {len(value)} characters; at most {LONGEST_VALUE} are taken")
    config = base
    if "preset" in query:
        config = preset(query["preset"], spacing_mm=base.spacing_mm)
    if _choice(query, "features", get_args(Features)) == "none":
        config = plain(config)
    for name in SLIDERS:
        if name in query:
            config = _slid(config, name, _number(name, query[name]))
    dotted = {name: _value(name, value) for name, value in query.items() if name not in plainly}
    if dotted:
        config = config_from_text(yaml.safe_dump(nested(dotted)), config)
    return Look(
        config=config,
        seed=_whole(query, "seed", seed, _GREATEST_NUMBER),
        index=_whole(query, "index", 0, _GREATEST_NUMBER),
        map=_whole(query, "map", usual_map, maps - 1),
        show=_choice(query, "show", get_args(Show)),
    )


def changes_as_yaml(config: GeneratorConfig) -> str:
    """What a configuration changes against the preset ``spine``, as YAML: a file for ``--preset``."""
    changes = json.loads(json.dumps(nested(config_changes(config, preset("spine")))))
    return yaml.safe_dump(changes, sort_keys=False, default_flow_style=None) if changes else ""


def python_call(look: Look, labels: str) -> str:
    """Python that makes the same picture and label map from the set of label maps at ``labels``."""
    return "\n".join(
        [
            "from synthspine.gen import SpineSynthGenerator, config_from_text, preset",
            "from synthspine.shards import open_set",
            "",
            'config = config_from_text("""',
            f'{changes_as_yaml(look.config)}""", preset("spine"))',
            f'generator = SpineSynthGenerator(config=config, labels="dense", seed={look.seed})',
            f"label_maps = open_set({labels!r}).read().labels[:, None]",
            f"image, label = generator.sample(label_maps, indices=[{look.index}], maps=[{look.map}])",
            "",
        ]
    )


def dotted_settings() -> dict[str, Any]:
    """Every setting by dotted name, with its value in the preset ``spine``."""
    return flat(json.loads(config_to_json(preset("spine"))))


def _slid(config: GeneratorConfig, name: str, value: float) -> GeneratorConfig:
    meaning, least, greatest = SLIDERS[name]
    if not least <= value <= greatest:
        raise ValueError(f"{name} is {value:g}; want {least:g} to {greatest:g} ({meaning})")
    both = (value, value)
    if name == "alpha":
        return replace(config, contrast=measured_contrast(value, config.contrast))
    if name == "noise":
        noise = replace(config.noise, probability=float(value > 0), level=both)
        return replace(config, noise=noise)
    if name == "bias":
        coil = config.coil if value > 0 else replace(config.coil, probability=0.0)
        return replace(
            config, coil=coil, bias=replace(config.bias, probability=float(value > 0), log_std=both)
        )
    if name == "spacing":
        coarse = value > 1
        resolution = replace(
            config.resolution,
            native_probability=float(not coarse),
            isotropic_probability=1.0,
            isotropic=both,
        )
        return replace(config, resolution=resolution)
    if name == "blur":
        # A preset may have no width of its own at the grid's spacing: then there is nothing to widen.
        native = None if config.resolution.native_sigma == 0 else config.resolution.native_sigma
        return replace(config, resolution=replace(config.resolution, native_sigma=native, sigma_factor=both))
    if value == 0:
        return without_geometry(config)
    shortest, longest = config.deformation.velocity_correlation_mm
    shortest = max(shortest, value / STRONGEST_VELOCITY)
    deformation = replace(
        config.deformation,
        probability=1.0,
        velocity_mm=both,
        velocity_correlation_mm=(shortest, max(shortest, longest)),
    )
    return replace(config, deformation=deformation)


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; want a number") from None


def _whole(query: Mapping[str, str], name: str, default: int, greatest: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or int(text) > greatest:
        raise ValueError(f"{name} is {text!r}; want a whole number from 0 to {greatest}")
    return int(text)


def _choice(query: Mapping[str, str], name: str, choices: tuple[Any, ...]) -> Any:
    value = query.get(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; want one of {', '.join(choices)}")
    return value


def _value(name: str, text: str) -> Any:
    if spread := _SPREAD.fullmatch(text):
        return [_number(name, end) for end in spread.groups()]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
