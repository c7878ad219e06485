"""The Open Inference Protocol: its tensors in JSON and binary, its messages for gRPC.

Protocol: https://github.com/kserve/open-inference-protocol
"""
