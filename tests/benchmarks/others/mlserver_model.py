"""The ensemble on MLServer; its settings are the defaults."""

import numpy as np
from decision import Decision
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceResponse


class Ensemble(MLModel):
    """A file in, the label's index and its probability out."""

    async def load(self):
        self.decision = Decision(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        index, probability = self.decision(Base64Codec.decode_input(payload.inputs[0])[0])
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("index", np.array([index], np.int32)),
                NumpyCodec.encode_output("probability", np.array([probability], np.float32)),
            ],
        )
