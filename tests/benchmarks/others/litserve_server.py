"""The ensemble on LitServe: litserve_server.py FOLDER PORT; its settings are the defaults."""

import sys

from decision import Decision
from fastapi import UploadFile
from litserve import LitAPI, LitServer


class Ensemble(LitAPI):
    """A file in, the label's index and its probability out."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def setup(self, device):
        self.decision = Decision(self.folder)

    def decode_request(self, request: UploadFile):
        return request.file.read()

    def predict(self, file):
        return self.decision(file)

    def encode_response(self, output):
        return dict(zip(("index", "probability"), output, strict=True))


if __name__ == "__main__":
    folder, port = sys.argv[1:]
    LitServer(Ensemble(folder)).run(host="127.0.0.1", port=int(port), generate_client_file=False)
