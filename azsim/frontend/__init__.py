"""From files to graphs: the workload YAML, ONNX, and graphs written inline."""
