"""quorate pools, against the nodes that are there."""

import json

import yaml

from quorate.cli import main


def test_every_node_is_in_a_pool(kubectl, capsys):
    nodes = json.loads(kubectl("get", "nodes", "--output=json"))["items"]
    assert main(["pools", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert sum(int(row["nodes"].rpartition("/")[2]) for row in rows) == len(nodes)
    most = max(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in nodes)
    assert rows[0]["gpus"] == most
    assert main(["pools"]) == 0
    assert rows[0]["pool"] in capsys.readouterr().out


def test_which_of_a_specs_pools_fit(kubectl, tmp_path, capsys):
    spec = {
        "name": "x",
        "detectors": [{"name": "a", "kind": "onnx", "weights": "a.onnx"}],
        "pools": {
            "any": {"tolerations": [{"operator": "Exists"}]},
            "giant": {"cpu": "10000", "tolerations": [{"operator": "Exists"}]},
        },
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    # A node that is busy may be late with its heartbeat, and then fits nothing.
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
    assert main(["pools", str(tmp_path / "spec.yaml"), "--json"]) == 0
    out = capsys.readouterr()
    assert "any" in json.loads(out.out)[0]["fits"]
    assert "giant fits no node" in out.err
    assert "10000 asked for" in out.err
