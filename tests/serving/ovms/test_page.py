"""The walk of docs/guides/openvino-model-server.md: its code and its file run as they stand."""

import json
from dataclasses import asdict

from quorate.serving.ovms.config import Configuration
from quorate.serving.ovms.served import ServedConfiguration
from quorate.serving.values import Limits
from tests.serving.ovms.published import problems
from tests.test_pages import ROOT, blocks

PAGE = "guides/openvino-model-server.md"


def test_the_walk_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    exec(blocks(PAGE, "python")[0], {})
    text, metadata = blocks(PAGE, "json")
    assert problems(json.loads(text)) == []
    (tmp_path / "config.json").write_text(text)
    served = ServedConfiguration(Configuration.from_json("config.json"), Limits())
    served.warm()
    said = json.dumps(asdict(served.info("sorting", "")))
    assert json.loads(said) == json.loads(metadata)
