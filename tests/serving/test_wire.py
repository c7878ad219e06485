"""What a request over gRPC is said to take in memory, held against what it holds."""

from hypothesis import given
from hypothesis import strategies as st

from quorate.open_inference.messages import MESSAGES
from quorate.open_inference.wire import ELEMENT, NUMBER, OBJECT, expanded

MOST = 1 << 40
numbers = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64_contents": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint_contents": st.integers(0, (1 << 32) - 1),
    "uint64_contents": st.integers(0, (1 << 64) - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
}
contents = st.fixed_dictionaries({}, optional={k: st.lists(v) for k, v in numbers.items()})
tensors = st.lists(st.tuples(contents, st.lists(st.binary(max_size=200), max_size=5)), max_size=4)


@given(tensors, st.lists(st.binary(max_size=300), max_size=4))
def test_every_number_element_and_field_is_counted(tensors, raw):
    inputs = [
        {"name": "image", "contents": said | {"bytes_contents": texts}} for said, texts in tensors
    ]
    message = MESSAGES["ModelInferRequest"](inputs=inputs, raw_input_contents=raw)
    count = sum(len(values) for said, _ in tensors for values in said.values())
    fields = sum(bool(values) for said, _ in tensors for values in said.values())
    texts = sum(len(texts) for _, texts in tensors)
    outer = 3 * len(tensors) + len(raw)  # of each tensor itself, its name and its contents
    said = expanded(message.SerializeToString(), MOST)
    assert said == NUMBER * count + ELEMENT * (fields + texts) + OBJECT * outer


@given(st.binary(max_size=400))
def test_any_bytes_are_counted(data):
    assert 0 <= expanded(data, MOST) <= OBJECT * (len(data) + 1)


def test_it_is_not_counted_further_than_matters():
    assert expanded(b"\x2a\x00" * 1_000_000, 1000) == 2 * OBJECT
