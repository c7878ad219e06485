"""What doctor says of a controller that this cluster does not have: a Deployment's."""

import subprocess
import sys

import pytest

from quorate.argo.doctor import examine as doctor


class Kube:
    """A namespace without workflows, and one Deployment."""

    def __init__(self, image, env):
        container = {"image": image, "env": [{"name": key, "value": env[key]} for key in env]}
        self.deployment = {"spec": {"template": {"spec": {"containers": [container]}}}}

    @property
    def rest(self):
        return self

    def items(self, path, query):
        assert path.endswith("/deployments")
        return [self.deployment]

    def workflows(self):
        return []


@pytest.mark.parametrize(
    ("version", "env", "states"),
    [
        ("v4.1.2", {"DEFAULT_REQUEUE_TIME": "1s"}, ["ok"]),
        ("v4.1.2", {}, ["ok", "warn"]),
        ("v4.0.5", {"DEFAULT_REQUEUE_TIME": "1s"}, ["warn"]),
        ("v3.7.0", {"DEFAULT_REQUEUE_TIME": "1s"}, ["fail"]),
        ("latest", {"DEFAULT_REQUEUE_TIME": "1s"}, ["warn"]),
    ],
)
def test_a_controllers_version_and_how_often_it_looks(version, env, states):
    found = list(doctor._controller(Kube(f"quay.io/argoproj/workflow-controller:{version}", env)))
    assert [one.state for one in found] == states
    assert all(one.remedy for one in found if one.state == "warn" and "looks" in one.found)


def test_a_cluster_is_looked_at_where_hera_is_not_installed():
    """As in a pod of our image: a spec alone needs what renders it."""
    program = "import sys; sys.modules['hera'] = None; import quorate.argo.doctor.examine"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
