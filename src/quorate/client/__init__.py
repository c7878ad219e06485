"""Asking a server of the Open Inference Protocol about pictures, and measuring how it answers.

    a picture ──model──▶ tensors ──`detectors.remote`──▶ tensors ──answers──▶ boxes, or a label
                            └─load: many requests, closed or open loop──▶ latency

Read `answers` (what tensors say of a picture), `model` (a model of a server, and how it is shown a
picture), `load` (many requests, and the figures of them), then `truth`. What goes over the network
is `quorate.detectors.remote`'s, which `kind: remote` uses too.
"""
