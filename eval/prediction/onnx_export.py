"""Export of a network to ONNX.

The graph takes ``image`` ``(batch, 1, 16 h, 16 w)``, float32 in [0, 1] at the model's pixel size, and returns
``logits`` ``(batch, classes, 16 h, 16 w)``. The metadata hold pixel size, label scheme
(``LabelScheme.to_dict``), and name, dense code and SPIDER value of every class.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from synthspine.gen.core.anatomy import spider_values
from synthspine.shards.storage.atomic import write_bytes
from synthspine.train.model.checkpoint import TrainedUNet
from synthspine.train.model.instance_norm import InstanceNorm

INPUT, OUTPUT = "image", "logits"


class OnnxError(ValueError):
    """The network cannot be exported; the message is one line that says why."""


def export_onnx(model: TrainedUNet, path: Path) -> None:
    """Write the network as one file, ``.onnx``, atomically.

    Raises:
        OnnxError: another suffix, or missing packages of ``synthspine[onnx]``.
        OSError: the file cannot be written.
    """
    if path.suffix != ".onnx":
        raise OnnxError(f"{path}: the file name does not end in .onnx")
    try:
        import onnx
        import onnxscript  # noqa: F401  (the exporter needs it)
    except ImportError as error:
        raise OnnxError(
            f"{path}: package {error.name} is missing; pip install 'synthspine[onnx]' installs it"
        ) from None
    network = _exportable(model).to("cpu").eval()
    rows, columns = (model.stride * torch.export.Dim(name) for name in ("h", "w"))
    example = torch.zeros(2, 1, 4 * model.stride, 3 * model.stride)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch"), 2: rows, 3: columns}},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise OnnxError(f"{path}: the exporter gives no graph")
    graph = program.model_proto
    onnx.helper.set_model_props(graph, _metadata(model))
    onnx.checker.check_model(graph)
    write_bytes(path, graph.SerializeToString())


def _metadata(model: TrainedUNet) -> dict[str, str]:
    scheme, values = model.scheme, spider_values()
    return {
        "spacing_mm": str(model.checkpoint.spacing_mm),
        "classes": json.dumps(scheme.class_names),
        "codes": json.dumps(scheme.codes),
        "scheme": json.dumps(scheme.to_dict()),
        "spider_values": json.dumps([int(values[code]) for code in scheme.codes]),
        "model": model.checkpoint.model,
        "orientation": "sagittal slices; rows superior to inferior, columns anterior to posterior",
        "use": "for research, not for diagnosis",
    }


def _exportable(model: nn.Module) -> nn.Module:
    """A copy with torch's instance normalisation in place of the one for CPUs."""
    network = copy.deepcopy(model)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InstanceNorm):
                plain = nn.InstanceNorm2d(child.num_features, eps=child.eps, affine=True)
                plain.load_state_dict(child.state_dict())
                setattr(parent, name, plain)
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's remarks about packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
