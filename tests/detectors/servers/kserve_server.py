"""KServe's model server with every ONNX file of a folder: kserve_server.py FOLDER HTTP GRPC.

Runs in .venv-remote, where nothing of ours is installed.
"""

import sys
from pathlib import Path

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(int64)": "INT64",
}


def said(tensors):
    return [
        {
            "name": tensor.name,
            "datatype": DATATYPES[tensor.type],
            "shape": [size if isinstance(size, int) else -1 for size in tensor.shape],
        }
        for tensor in tensors
    ]


class OnnxModel(Model):
    def __init__(self, path):
        super().__init__(path.stem)
        self.session = onnxruntime.InferenceSession(path)
        self.ready = True

    def get_input_types(self):
        return said(self.session.get_inputs())

    def get_output_types(self):
        return said(self.session.get_outputs())

    def predict(self, payload, headers=None, response_headers=None):
        feed = {given.name: given.as_numpy() for given in payload.inputs}
        names = [tensor["name"] for tensor in self.get_output_types()]
        outputs = []
        for tensor, value in zip(
            self.get_output_types(), self.session.run(names, feed), strict=True
        ):
            output = InferOutput(tensor["name"], list(value.shape), tensor["datatype"])
            output.set_data_from_numpy(value, binary_data=True)
            outputs.append(output)
        return InferResponse(
            payload.id,
            self.name,
            outputs,
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


class Undescribed(OnnxModel):
    """A model whose author has not said what its tensors are; KServe's own default."""

    def get_input_types(self):
        return []


if __name__ == "__main__":
    folder, http, rpc = sys.argv[1:]
    models = [OnnxModel(path) for path in Path(folder).glob("*.onnx")]
    undescribed = Undescribed(next(Path(folder).glob("*.onnx")))
    undescribed.name = "undescribed"
    ModelServer(http_port=int(http), grpc_port=int(rpc), workers=1).start([*models, undescribed])
