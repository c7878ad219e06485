import json

import jsonschema
import pytest

from quorate.errors import SpecError
from quorate.spec import EnsembleSpec, SecretKey, json_schema, secret_keys

HEAD = "kind: DetectionEnsemble\nname: s\ndetectors: [{name: a, kind: onnx, weights: w.onnx}]\n"
KEY = "{secret: quorate-notify, key: slack-url}"


@pytest.fixture
def read(tmp_path):
    def read(notify):
        path = tmp_path / "spec.yaml"
        path.write_text(f"{HEAD}notify:\n  - {notify}\n")
        return EnsembleSpec.from_yaml(path)

    return read


def test_a_secret_arrives_in_a_variable_named_for_it(read):
    spec = read(f"{{kind: slack, url: {KEY}}}")
    assert [key.variable for key in secret_keys(spec.notify)] == ["QUORATE_NOTIFY_SLACK_URL"]
    jsonschema.validate(json.loads(spec.model_dump_json(exclude_none=True)), json_schema())


def test_what_is_written_down_is_read_again(read, tmp_path):
    spec = read(f"{{kind: webhook, url: https://e.example/x, signing: {KEY}, when: [failed]}}")
    again = tmp_path / "again.yaml"
    again.write_text(spec.to_yaml())
    assert EnsembleSpec.from_yaml(again).notify == spec.notify


MAIL = "kind: email, to: [a@example.org], sender: q@example.org, host: mail.example.org"


@pytest.mark.parametrize(
    ("notify", "said"),
    [
        ("{kind: slak, url: x}", "not 'slak', did you mean 'slack'?"),
        (
            f"{{kind: slack, url: {KEY}, when: [faild]}}",
            "expected started, succeeded",
        ),
        (f"{{kind: slack, url: {KEY}, when: []}}", "at least 1"),
        (f"{{kind: slack, url: {KEY}, wen: [failed]}}", "did you mean 'when'"),
        ("{kind: slack, url: {secret: Q, key: k}}", "notify[0].url.secret: expected"),
        (
            "{kind: webhook, url: ftp://e.example}",
            "expected the receiver's address: `url: 'https://example.org/hook'`",
        ),
        (f"{{{MAIL}, username: u}}", "username and password go together"),
        (
            f"{{{MAIL}, security: none, username: u, password: {KEY}}}",
            "a password is not sent without encryption",
        ),
        (
            '{kind: email, to: ["a@b\\nBcc: x@y"], sender: a@b, host: h}',
            "notify[0].to[0]: expected",
        ),
        ("{kind: email, to: [a@b.c], sender: a@b.c, host: h/x}", "notify[0].host: expected"),
    ],
)
def test_what_cannot_be_is_said_with_its_line(read, notify, said):
    with pytest.raises(SpecError) as caught:
        read(notify)
    assert "spec.yaml:5" in str(caught.value)
    assert said in str(caught.value)


def test_a_secret_written_into_the_spec_is_refused_and_not_repeated(read):
    with pytest.raises(SpecError) as caught:
        read("{kind: slack, url: https://hooks.slack.com/services/T0/B0/xyzzy}")
    assert "a secret is named, {secret: NAME, key: KEY}, never written here" in str(caught.value)
    assert "xyzzy" not in str(caught.value)


def test_two_secrets_of_one_variable_are_refused(read):
    with pytest.raises(SpecError, match=r"would both be \$A_B_C; rename one"):
        read("{kind: webhook, url: {secret: a-b, key: c}, signing: {secret: a, key: b.c}}")
    assert SecretKey(secret="a-b", key="c").variable == "A_B_C"
