"""Ensembles behind a server of the Open Inference Protocol, version 2: REST and gRPC.

    REST ──rest──┐                                        ┌─▶ line ──▶ LoadedEnsemble.answers
                 ├─▶ plane: who is asked, is it ready? ───┤    (bounded, in threads)
    gRPC ──rpc───┘                                        └─▶ detection: answers as tensors

Read `values` (a request, an answer, a refusal), `servable` (what can be served), `detection` (the
tensors of an ensemble), `line` (requests that wait), `plane` (the one data plane), then `rest` and
`rpc`, which only translate, and `serve`. What is answered is what `ensemble.load().look(picture)`
says.
"""
