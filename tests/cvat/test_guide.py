"""The guide's command and its variables."""

import re
from pathlib import Path

import yaml

from tests.cvat.servers import ROOT, serving

GUIDE = (ROOT / "docs/guides/cvat-models.md").read_text()


def test_the_server_says_what_the_guide_shows():
    [shown] = re.findall(r"```\n(\d+ models? for CVAT at http.*)\n```", GUIDE)
    with serving(ROOT / "docs/examples/parts/spec.yaml") as server:
        address = r"http://[\d.:]+"
        assert re.sub(address, "", server.lines[-1].strip()) == re.sub(address, "", shown)


def test_the_compose_file_names_the_server_as_both_of_cvats_processes_need_it():
    [text] = re.findall(r"```yaml\n(services:.*?)```", GUIDE, re.DOTALL)
    services = yaml.safe_load(text)["services"]
    command = services["quorate"]["command"].split()
    assert command[:2] == ["quorate", "serve"]
    assert Path(command[3]).is_relative_to(services["quorate"]["volumes"][0].split(":")[1])
    for name in ("cvat_server", "cvat_worker_annotation"):
        asked = services[name]["environment"]
        assert asked["CVAT_NUCLIO_HOST"] in services
        assert asked["CVAT_NUCLIO_PORT"] == 8070
        assert asked["CVAT_NUCLIO_INVOKE_METHOD"] == "dashboard"
