"""Evaluation: Dice over contrast and resolution, the report, and prediction of volumes."""

from eval.batches import SliceBatches
from eval.benchmark import evaluate_model
from eval.degrade import degrade
from eval.segment import segment_volume
from train import load_model

__all__ = ["SliceBatches", "degrade", "evaluate_model", "load_model", "segment_volume"]
