"""model.py of Triton's Python backend for the model.onnx beside it; runs in .venv-remote."""

import os
import sys
from pathlib import Path

# The backend's Python heeds no PYTHONPATH of its own accord.
sys.path += os.environ["PYTHONPATH"].split(os.pathsep)

import onnxruntime
import triton_python_backend_utils as triton

DATATYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(int64)": "TYPE_INT64",
}
MOST = 4


def session():
    return onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        """Tensors as the file has them; a first size that is open is Triton's batch, of up to 4."""
        inputs, outputs = session().get_inputs(), session().get_outputs()
        batched = not any(isinstance(tensor.shape[0], int) for tensor in (*inputs, *outputs))
        config.set_max_batch_size(MOST if batched else 0)
        if batched:
            config.set_dynamic_batching()
        for add, tensors in ((config.add_input, inputs), (config.add_output, outputs)):
            for tensor in tensors:
                sizes = [size if isinstance(size, int) else -1 for size in tensor.shape]
                about = {"name": tensor.name, "data_type": DATATYPES[tensor.type]}
                add({**about, "dims": sizes[batched:]})
        return config

    def initialize(self, args):
        self.session = session()

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        feed = {given.name(): given.as_numpy() for given in request.inputs()}
        names = list(request.requested_output_names())
        values = self.session.run(names, feed)
        return triton.InferenceResponse(
            [triton.Tensor(name, value) for name, value in zip(names, values, strict=True)]
        )
