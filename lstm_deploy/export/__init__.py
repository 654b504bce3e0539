"""PyTorch modules -> ONNX files, proved before they appear: needs the extras ``[export]`` and ``[cpu]``."""
