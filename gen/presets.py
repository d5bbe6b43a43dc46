"""Named configurations."""

from dataclasses import replace

from gen.config import ContrastConfig, GeneratorConfig

PRESETS: dict[str, GeneratorConfig] = {
    "spine": GeneratorConfig(),
    "random": GeneratorConfig(contrast=ContrastConfig(random_probability=1.0)),
    "t1": GeneratorConfig(contrast=ContrastConfig(random_probability=0.0, alpha=(0.0, 0.0))),
    "t2": GeneratorConfig(contrast=ContrastConfig(random_probability=0.0, alpha=(1.0, 1.0))),
}


def preset(name: str, *, spacing_mm: float = GeneratorConfig().spacing_mm) -> GeneratorConfig:
    """The configuration of that name: ``spine`` (for training), ``random``, ``t1`` or ``t2``.

    Args:
        name: name of the preset; upper case is fine.
        spacing_mm: in-plane spacing of the label maps it will be used on, mm.

    Raises:
        ValueError: no such preset.
    """
    if name.lower() not in PRESETS:
        raise ValueError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name.lower()], spacing_mm=spacing_mm)
