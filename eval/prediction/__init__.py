"""Prediction of scans."""
