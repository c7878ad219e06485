"""MLServer's runtime for an ONNX file; runs in .venv-remote, where nothing of ours is installed."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse, MetadataTensor

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(int64)": "INT64",
}


def said(tensors):
    return [
        MetadataTensor(
            name=tensor.name,
            datatype=DATATYPES[tensor.type],
            shape=[size if isinstance(size, int) else -1 for size in tensor.shape],
        )
        for tensor in tensors
    ]


class OnnxRuntime(MLModel):
    async def load(self):
        self.session = onnxruntime.InferenceSession(self.settings.parameters.uri)
        self.inputs = said(self.session.get_inputs())
        self.outputs = said(self.session.get_outputs())
        return True

    async def predict(self, payload):
        feed = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        names = [output.name for output in payload.outputs or self.outputs]
        values = self.session.run(names, feed)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output(name, value)
                for name, value in zip(names, values, strict=True)
            ],
        )
