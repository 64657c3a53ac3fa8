"""Measurements that take minutes: ONNX Runtime, spoken queries, and calls. See README.md in this folder."""
