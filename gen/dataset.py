"""The public interface of the generator: label maps in, synthetic MRI out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from synthspine.gen.config import GeneratorConfig, without_geometry
from synthspine.gen.core.anatomy import CODES
from synthspine.gen.core.device import move, pick_device
from synthspine.gen.core.feature import whole_number
from synthspine.gen.core.label_values import Labels, as_tensor, label_tables, scheme_of
from synthspine.gen.core.schemes import RANKS, LabelScheme
from synthspine.gen.generator import draw, render
from synthspine.gen.intensity.contrast import measured_contrast
from synthspine.gen.params import Params
from synthspine.gen.presets import switched_preset
from synthspine.gen.tissues.unannotated import OutsideConfig

Array = TypeVar("Array", np.ndarray, Tensor)


class SpineSynthGenerator:
    """Synthetic lumbar-spine MRI from label maps.

    Label maps are integer arrays of shape ``(H, W)``, ``(Z, H, W)`` (a volume of sagittal slices),
    ``(B, 1, H, W)`` or ``(B, 1, Z, H, W)``; rows run from head to foot, columns from front to back.

    Args:
        contrast_type: ``"T1"``, ``"T2"``, ``"random"``, ``"spine"`` (the mixture made for training), or
            ``"synthseg"``, whose recipe has neither noise nor coil.
        resolution_range: least and greatest acquired spacing over grid spacing, from 1.
        add_bias_field: shade by a bias field and the coil.
        add_noise: add Rician noise.
        add_motion: some pictures show motion between lines of k-space, some a blur along a line.
        labels: values of the label maps and targets: ``"dense"`` (``gen.core.anatomy``), ``"spider"`` (1-25,
            100, 101-125, 201-225), or the classes of a label scheme (255 = none): its name (``"ranks"``:
            0-13), number of classes, YAML file, or a ``LabelScheme``. A class of several codes is read as the
            first of them. Where a scheme has no class for a part of the anatomy (``"ranks"`` has none for
            vertebrae above the sixth), 255 stands for it and is painted as tissue, whatever
            ``config.outside`` says.
        targets: the same for the targets alone; as ``labels`` where None. Maps that tell ranks apart give
            better pictures than classes without ranks: ``labels="dense", targets="structures"``.
        spacing_mm: spacing of the label maps in the sagittal plane.
        seed: seed of the draws unless a call names its own.
        config: a whole configuration, in place of all the arguments before ``labels``.

    Raises:
        ValueError: an unknown contrast or label scheme, or a range that is empty or out of bounds.

    Example:
        >>> import numpy as np
        >>> spine = np.zeros((64, 48), dtype=np.uint8)
        >>> spine[20:30, 10:24], spine[30:34, 10:24], spine[10:50, 28:33] = 1, 7, 13
        >>> SpineSynthGenerator(contrast_type="T2").generate_synthetic_mri(spine).shape
        (64, 48)
    """

    def __init__(
        self,
        contrast_type: str = "random",
        resolution_range: tuple[float, float] = (1.0, 4.0),
        add_bias_field: bool = True,
        add_noise: bool = True,
        add_motion: bool = False,
        *,
        labels: Labels = RANKS.name,
        targets: Labels | None = None,
        spacing_mm: float | None = None,
        seed: int = 0,
        config: GeneratorConfig | None = None,
    ) -> None:
        self.labels = labels.name if isinstance(labels, LabelScheme) else str(labels)
        self.seed = whole_number("seed", seed)
        targets = labels if targets is None else targets
        self._to_codes, self._from_codes = label_tables(labels)[0], label_tables(targets)[1]
        scheme, wanted = scheme_of(labels), scheme_of(targets)
        self._refined = wanted is not None and wanted.is_refined
        if config is None:
            config = switched_preset(contrast_type, resolution_range, add_bias_field, add_noise, add_motion)
        elif not isinstance(config, GeneratorConfig):
            raise TypeError(f"config is {config!r}; want a GeneratorConfig")
        if spacing_mm is not None:
            config = replace(config, spacing_mm=spacing_mm)
        if scheme is not None and not scheme.is_complete:
            # Here 255 stands for structures without a class, which are tissue, not the end of the scan.
            config = replace(config, outside=OutsideConfig(probability=0.0))
        self.config = config

    def generate_synthetic_mri(
        self,
        label_map: Array,
        contrast_alpha: float | None = None,
        *,
        seed: int | None = None,
        index: int = 0,
    ) -> Array:
        """Picture that lies exactly on ``label_map``: anatomy does not move.

        Args:
            label_map: one map or a batch of them, see the class.
            contrast_alpha: 0 for T1, 1 for T2, between them for what lies between; None for the
                generator's own contrast.
            seed: with ``index``, chooses the draw; the generator's seed by default.
            index: number of the first sample; a batch takes the following ones.

        Returns:
            float32 in [0, 1], with the shape, kind (NumPy or torch) and device of ``label_map``.

        Raises:
            TypeError: the map does not hold integers, or ``contrast_alpha`` is no number.
            ValueError: a wrong shape, an unknown label, or ``contrast_alpha`` outside 0..1.
        """
        codes = self.codes(label_map)
        index = whole_number("index", index, least=0)
        config = without_geometry(self.config)
        if contrast_alpha is not None:
            alpha = contrast_alpha.item() if isinstance(contrast_alpha, np.generic) else contrast_alpha
            config = replace(config, contrast=measured_contrast(alpha, config.contrast))
        indices = torch.arange(index, index + len(codes))
        params = self._draw(config, codes, seed, indices, torch.arange(len(codes)))
        image = render(codes, params)[0].reshape(label_map.shape)
        return image.cpu().numpy() if isinstance(label_map, np.ndarray) else image

    def sample(
        self,
        label_maps: Array,
        *,
        indices: Sequence[int] | Tensor,
        seed: int | None = None,
        maps: Sequence[int] | Tensor | None = None,
    ) -> tuple[Array, Array]:
        """Deformed pictures with their targets.

        Args:
            label_maps: the label bank, one map or a batch of ``N``, see the class.
            indices: sample numbers, ``B`` of them; a sample is the same in whatever call it stands.
            seed: the generator's seed by default.
            maps: map of each sample; drawn from the bank by default.

        Returns:
            Image, float32 in [0, 1], ``(B, 1, *grid)``, and target in the scheme of the generator,
            ``(B, *grid)``: uint8 (int16 for ``"spider"``), 255 where nothing is annotated.

        Raises:
            TypeError: the maps do not hold integers.
            ValueError: a wrong shape, an unknown label, or no index.
        """
        image, target = self.sample_codes(self.codes(label_maps), indices=indices, seed=seed, maps=maps)
        if isinstance(label_maps, np.ndarray):
            return image.cpu().numpy(), target.cpu().numpy()
        return image, target

    def sample_codes(
        self,
        bank: Tensor,
        *,
        indices: Sequence[int] | Tensor,
        seed: int | None = None,
        maps: Sequence[int] | Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`sample` from a bank of :meth:`codes`, which is checked and encoded only once."""
        chosen = None if maps is None else _whole_numbers("maps", maps)
        params = self._draw(self.config, bank, seed, _whole_numbers("indices", indices), chosen)
        image, moved = render(bank, params, refined=self._refined)
        (from_codes,) = move([self._from_codes], moved.device)
        return image, from_codes[moved.long()]

    def _draw(
        self, config: GeneratorConfig, codes: Tensor, seed: int | None, indices: Tensor, maps: Tensor | None
    ) -> Params:
        # On the CPU, as ``render`` likes it; but indices on a GPU are not waited for.
        params = draw(
            config,
            self.seed if seed is None else seed,
            indices,
            maps=len(codes),
            dims=codes.dim() - 1,
            device=indices.device if indices.device == codes.device else "cpu",
        )
        if maps is None:
            return params
        # Numbers on a GPU are not looked at: that would wait for the device.
        on_cpu = maps.device.type == "cpu"
        if maps.shape != indices.shape or (
            on_cpu and not 0 <= int(maps.min()) <= int(maps.max()) < len(codes)
        ):
            raise ValueError(f"maps {maps.tolist()} do not name one of {len(codes)} maps per index")
        return replace(params, map_index=maps.to(params.map_index.device, torch.int64))

    def codes(self, label_maps: np.ndarray | Tensor) -> Tensor:
        """Label maps as a label bank, uint8 dense codes ``(N, *grid)``; raises as :meth:`sample`."""
        values = as_tensor(label_maps)
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise TypeError(f"a label map holds integers, not {values.dtype}")
        if values.is_meta:
            raise ValueError("the label map lies on the device meta, which holds no values")
        if values.dtype in (torch.uint16, torch.uint32, torch.uint64):
            # Files often hold them, and torch does hardly anything with them.
            values = values.long()
        shape = tuple(values.shape)
        if values.dim() in (2, 3):
            values = values.unsqueeze(0)
        elif values.dim() in (4, 5) and shape[1] == 1:
            values = values.squeeze(1)
        else:
            raise ValueError(
                f"label map of shape {shape}; want (H, W), (Z, H, W), (B, 1, H, W) or (B, 1, Z, H, W)"
            )
        if values.numel() == 0 or min(values.shape[-2:]) < 2:
            raise ValueError(f"label map of shape {shape} has less than 2 rows or columns, or nothing at all")
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= CODES:
            raise ValueError(self._unknown(low if low < 0 else high))
        codes = self._to_codes.to(values.device)[values.long()]
        wrong = codes < 0
        if bool(wrong.any()):
            raise ValueError(self._unknown(int(values[wrong][0])))
        return codes.to(torch.uint8)

    def _unknown(self, value: int) -> str:
        known = (self._to_codes >= 0).nonzero().flatten().tolist()
        return f"label {value} is not a value of the scheme {self.labels!r} ({_spans(known)})"


def _whole_numbers(name: str, values: Sequence[int] | np.ndarray | Tensor) -> Tensor:
    try:
        numbers = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} are {values!r}; want integers") from error
    if numbers.numel() == 0:
        # An empty list has no kind.
        return numbers.long()
    if numbers.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"{name} are {numbers.dtype}; want integers")
    return numbers.long()


def _spans(values: list[int]) -> str:
    """Numbers as spans: ``0-13, 255``."""
    starts = [v for v in values if v - 1 not in values]
    ends = [v for v in values if v + 1 not in values]
    return ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))


class SyntheticDataset(Dataset[tuple[Tensor, Tensor]]):
    """``num_augmentations`` deformed pictures of every label map, the same every time.

    Args:
        label_maps: maps of shape ``(H, W)`` or ``(Z, H, W)``.
        generator: how they are rendered; its seed makes the series.
        num_augmentations: pictures per map.

    ``dataset[i]`` shows map ``i // num_augmentations``: image, float32 in [0, 1], ``(1, *grid)``, and
    target in the generator's label scheme, int64, ``(*grid)``, 255 where nothing is annotated.

    Raises:
        ValueError: no map, or less than one picture per map.
    """

    def __init__(
        self,
        label_maps: Sequence[np.ndarray | Tensor],
        generator: SpineSynthGenerator,
        num_augmentations: int = 5,
    ) -> None:
        if not isinstance(generator, SpineSynthGenerator):
            raise TypeError(f"generator is {generator!r}; want a SpineSynthGenerator")
        if len(label_maps) == 0 or whole_number("num_augmentations", num_augmentations) < 1:
            raise ValueError(f"{len(label_maps)} maps x {num_augmentations} pictures make an empty dataset")
        self.label_maps = [as_tensor(label_map) for label_map in label_maps]
        self.generator = generator
        self.num_augmentations = num_augmentations

    def __len__(self) -> int:
        return len(self.label_maps) * self.num_augmentations

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        index = whole_number("index", index)
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a dataset of {len(self)}")
        label_map = self.label_maps[index // self.num_augmentations]
        image, target = self.generator.sample(label_map, indices=[index], maps=[0])
        return image[0], target[0].long()


class SyntheticStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Batches of synthetic pictures, rendered together on one device, the same every time.

    Batch ``k`` holds samples ``k * batch_size`` and the following ones: a function of (generator, label
    maps, ``k``) alone. Training resumes where it was by ``first``. In a ``DataLoader(stream,
    batch_size=None, num_workers=W)`` the workers take turns, so the order is that of one worker.

    Args:
        label_maps: maps of one shape, ``(H, W)`` or ``(Z, H, W)``, integers.
        generator: how they are rendered; its seed makes the series.
        batch_size: samples per batch.
        device: where batches are rendered and stay.
        first: number of the first batch.
        batches: how many there are; None for no end.

    Yields image, float32 in [0, 1], ``(batch_size, 1, *grid)``, and target in the label scheme of the
    generator, int64, ``(batch_size, *grid)``, 255 where nothing is annotated.

    Raises:
        TypeError: an argument of another kind, or maps that do not hold integers.
        ValueError: no map, maps of different shapes, an unknown label, a device that is not there, or a
            batch size, first batch or number of batches out of bounds.
    """

    def __init__(
        self,
        label_maps: Sequence[np.ndarray | Tensor] | np.ndarray | Tensor,
        generator: SpineSynthGenerator,
        batch_size: int = 16,
        *,
        device: torch.device | str = "cpu",
        first: int = 0,
        batches: int | None = None,
    ) -> None:
        if not isinstance(generator, SpineSynthGenerator):
            raise TypeError(f"generator is {generator!r}; want a SpineSynthGenerator")
        maps = [as_tensor(label_map) for label_map in label_maps]
        shapes = sorted({tuple(label_map.shape) for label_map in maps})
        if len(shapes) != 1:
            raise ValueError(f"the label maps have shapes {shapes}; want maps of one shape")
        self.bank = generator.codes(torch.stack(maps).unsqueeze(1))
        self.generator = generator
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        self.device = pick_device(str(device))
        self.first = whole_number("first", first, least=0)
        self.batches = None if batches is None else whole_number("batches", batches, least=0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        own, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        bank = self.bank.to(self.device)
        for batch in count(own, workers):
            if self.batches is not None and batch >= self.batches:
                return
            start = (self.first + batch) * self.batch_size
            indices = torch.arange(start, start + self.batch_size)
            image, target = self.generator.sample_codes(bank, indices=indices)
            yield image, target.long()
