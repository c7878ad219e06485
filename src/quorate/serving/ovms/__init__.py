"""A configuration of OpenVINO Model Server, `config.json`, served as it stands.

    config.json ──config──▶ models (a file each: ONNX, or OpenVINO IR) ──▶ pipelines of them
                                                     └──── served: both on the data plane ────┘

Read `config` (the file), `models` (files that are loaded), `pipelines` (the graph of a pipeline:
checked, then run, what does not depend on each other at once), then `served`.

Source: github.com/openvinotoolkit/model_server, src/schema.cpp, docs/dag_scheduler.md,
docs/demultiplexing.md, src/dags.
"""
