"""Evaluation: Dice over contrast and resolution, the report, and prediction of volumes."""

if __name__ != "synthspine.eval":
    raise ImportError("this package is imported as synthspine.eval, not as eval")


from typing import TYPE_CHECKING

from synthspine.lazy import on_first_use

if TYPE_CHECKING:
    from synthspine.eval.scan_mask import segment_scan
    from synthspine.eval.segmentation.segment import segment_volume
    from synthspine.eval.studies.batches import SliceBatches
    from synthspine.eval.studies.degrade import degrade
    from synthspine.eval.studies.measure import evaluate_model
    from synthspine.train import load_model

__all__ = ["SliceBatches", "degrade", "evaluate_model", "load_model", "segment_scan", "segment_volume"]

__getattr__ = on_first_use(__name__)
