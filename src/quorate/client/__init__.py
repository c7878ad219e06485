"""Asking a server of the Open Inference Protocol about pictures, and measuring how it answers.

    a picture ──model──▶ tensors ──`detectors.remote`──▶ tensors ──answers──▶ boxes, or a label
                            └─load: many requests, closed or open loop──▶ latency

Read `latency` (figures of many requests), `answers` (what tensors say of a picture), `model` (a
model of a server, and how it is shown a picture), `load`, then `truth`. What goes over the network
is `quorate.detectors.remote`'s, which `kind: remote` uses too.
"""
