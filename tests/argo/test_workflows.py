"""The shipped templates are what the renderer makes today: `UPDATE=1` rewrites them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from quorate import DetectionEnsemble
from quorate.argo.render import SHIPPED, shipped, workflow_template
from quorate.argo.rendering.children import shards_per_workflow
from quorate.spec import WorkflowSettings, read_spec
from quorate.spec.training import Training

WORKFLOWS = Path(__file__).parents[2] / "workflows"


def folders():
    return sorted(path.name for path in WORKFLOWS.iterdir() if path.is_dir())


def render(name):
    if name in SHIPPED:
        return shipped(name, WorkflowSettings()).to_yaml()
    plan = read_spec(WORKFLOWS / name / "spec.yaml", DetectionEnsemble, Training)
    return workflow_template(plan).to_yaml()


@pytest.mark.parametrize("name", folders())
def test_a_shipped_template_is_what_is_rendered(name):
    path = WORKFLOWS / name / "template.yaml"
    if os.environ.get("UPDATE"):
        path.write_text(render(name), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == render(name), "UPDATE=1 rewrites it"
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["metadata"]["name"] == name


@pytest.mark.parametrize("name", folders())
def test_a_shipped_template_has_a_page_that_tells_its_parameters(name):
    page = (WORKFLOWS / name / "README.md").read_text(encoding="utf-8")
    template = yaml.safe_load((WORKFLOWS / name / "template.yaml").read_text(encoding="utf-8"))
    for parameter in template["spec"]["arguments"]["parameters"]:
        assert f"`{parameter['name']}`" in page


def test_how_many_shards_a_workflow_holds_follows_from_its_templates_weight():
    template = yaml.safe_load((WORKFLOWS / "ensemble" / "template.yaml").read_text("utf-8"))
    entry = next(t for t in template["spec"]["templates"] if t["name"] == "ensemble")
    (when,) = (t["when"] for group in entry["steps"] for t in group if t["name"] == "shards")
    weight = len(json.dumps(template["spec"], separators=(",", ":")))
    assert int(re.findall("[0-9]+", when)[-1]) == shards_per_workflow(3, weight)


def quorate(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "quorate", *map(str, arguments)], capture_output=True, text=True
    )


def test_the_command_prints_or_writes(tmp_path):
    spec = WORKFLOWS / "ensemble" / "spec.yaml"
    printed = quorate("render", spec)
    assert printed.stdout == (WORKFLOWS / "ensemble" / "template.yaml").read_text("utf-8")
    assert quorate("render", spec, "-o", tmp_path / "t.yaml").returncode == 0
    assert (tmp_path / "t.yaml").read_text("utf-8") == printed.stdout
    assert "kind: WorkflowTemplate" in quorate("render", "fuse-files").stdout


def test_the_command_says_what_it_cannot_render(tmp_path):
    done = quorate("render", tmp_path / "none.yaml")
    assert done.returncode == 2
    assert "there is no such file" in done.stderr


def test_rendering_costs_less_than_importing_hera():
    """Both in one process, after the import of everything that a spec needs anyhow."""
    program = """
import time
from quorate.ensemble import DetectionEnsemble
given = DetectionEnsemble.from_yaml("workflows/ensemble/spec.yaml")
start = time.process_time()
import hera.workflows
imported = time.process_time()
import quorate.argo.rendering.template
own = time.process_time()
given.workflow_template().to_yaml()
print(imported - start, time.process_time() - own)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=WORKFLOWS.parent
    )
    imported, rendered = map(float, done.stdout.split())
    assert rendered < imported


def test_the_guides_python_runs(monkeypatch, capsys):
    monkeypatch.chdir(WORKFLOWS.parent)
    guide = Path("docs/guides/argo.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    exec(program, {})
    assert yaml.safe_load(capsys.readouterr().out)["spec"]["parallelism"] == 16
