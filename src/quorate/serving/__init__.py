"""Ensembles behind a server of the Open Inference Protocol, version 2: REST and gRPC.

    REST ──rest──┐                                              ┌─▶ line ──▶ ensemble.answers
                 ├─▶ plane ──▶ repository: who is asked, is ────┤   (bounded, in threads)
    gRPC ──rpc───┘             it loaded?                       └─▶ detection, classification:
                                                                    answers as tensors

Read `values` (a request, an answer, a refusal) and `servable` (what can be served); `inputs`,
`detection` and `classification` (the tensors), `line` (requests that wait) and `served` (an
ensemble, with these); `repository` (what is loaded, and loaded anew), `plane` (the one data plane,
and the memory that requests may take), `access` (who may ask), `watching`, `metrics` and `traces`
(what is told of it); then `rest` and `rpc`, which only translate, and `serve`. `ovms` serves the
file of another server. What is answered is what `ensemble.load().look(picture)` says.
"""
