"""External data in an ONNX file is found wherever it may be, and damaged files are refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.vision.inference import find_model
from edge.vision.inference.onnx_wire import has_external_data


def tensor(external: bool) -> TensorProto:
    made = numpy_helper.from_array(np.ones(3, np.float32), "w")
    if external:
        made.ClearField("raw_data")
        made.data_location = TensorProto.EXTERNAL
        entry = made.external_data.add()
        entry.key, entry.value = "location", "elsewhere"
    return made


def in_initializer(made: TensorProto) -> Any:
    return helper.make_model(helper.make_graph([], "g", [], [], [made]))


def in_constant(made: TensorProto) -> Any:
    return helper.make_model(
        helper.make_graph([helper.make_node("Constant", [], ["c"], value=made)], "g", [], [])
    )


def in_subgraph(made: TensorProto) -> Any:
    inner = helper.make_graph([], "inner", [], [], [made])
    node = helper.make_node("If", ["c"], ["o"], then_branch=inner, else_branch=inner)
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_sparse(made: TensorProto) -> Any:
    model = in_initializer(tensor(False))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(made)
    return model


def in_function(made: TensorProto) -> Any:
    model = in_initializer(tensor(False))
    node = helper.make_node("Constant", [], ["c"], value=made)
    model.functions.append(helper.make_function("d", "f", [], ["c"], [node], []))
    return model


def in_tensors_attribute(made: TensorProto) -> Any:
    node = helper.make_node("Strange", [], ["c"], values=[tensor(False), made])
    return helper.make_model(helper.make_graph([node], "g", [], []))


def in_training(made: TensorProto) -> Any:
    model = in_initializer(tensor(False))
    model.training_info.add().algorithm.initializer.append(made)
    return model


PLACES = [in_initializer, in_constant, in_subgraph, in_sparse, in_function, in_tensors_attribute,
          in_training]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_external_data_is_found_everywhere(place: Callable[[TensorProto], Any]) -> None:
    assert not has_external_data(place(tensor(False)).SerializeToString())
    assert has_external_data(place(tensor(True)).SerializeToString())


def test_either_field_alone_is_enough() -> None:
    for field in ("data_location", "external_data"):
        made = tensor(True)
        made.ClearField(field)
        assert has_external_data(in_initializer(made).SerializeToString())


def test_bundled_models_have_no_external_data() -> None:
    for name, file in (
        ("centerface-320x192", "centerface.onnx"),
        ("centerface-640x384", "centerface.onnx"),
        ("expression-nir", "expression.onnx"),
    ):
        folder = find_model(name)
        assert not has_external_data((folder / file).read_bytes())


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_give_an_answer_or_a_value_error(content: bytes) -> None:
    try:
        has_external_data(content)
    except ValueError:
        return


@settings(max_examples=150)
@given(st.data())
def test_damaged_file_gives_an_answer_or_a_value_error(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(PLACES))(tensor(True)).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        has_external_data(bytes(content))
    except ValueError:
        return


@settings(max_examples=100)
@given(st.integers(0, 10_000))
def test_truncated_file_is_accepted_only_if_onnx_loads_it(length: int) -> None:
    whole = in_subgraph(tensor(False)).SerializeToString()
    content = whole[: length % len(whole)]
    try:
        has_external_data(content)
    except ValueError:
        return
    # an accepted file must load with the real parser
    onnx.load_model_from_string(content)


def test_deep_nesting_is_refused() -> None:
    body = b""
    for _ in range(200):  # attribute.g -> graph.node -> node.attribute -> ...
        for key in (0x32, 0x2A, 0x0A):
            size, length = len(body), b""
            while size > 0x7F:
                length += bytes([size & 0x7F | 0x80])
                size >>= 7
            body = bytes([key]) + length + bytes([size]) + body
    size, length = len(body), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    with pytest.raises(ValueError, match="nested"):
        has_external_data(b"\x3a" + length + bytes([size]) + body)
