"""Pickles: what is genuine loads, what is forged is refused in bounded time, and nothing of it is executed."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import paddle
import pytest

from ocrslim.errors import WeightsError
from ocrslim.formats.pickles import safe_pickle
from ocrslim.formats.pickles.safe_pickle import read_pickle, unpickle_arrays, unpickle_plain
from ocrslim.models import read_weights

ARRAYS = {
    "in C order": np.arange(6, dtype="f4").reshape(2, 3),
    "in Fortran order": np.asfortranarray(np.arange(20, dtype="f8").reshape(4, 5)),
    "big-endian": np.arange(6, dtype=">i8").reshape(2, 3),
    "bool": np.array([True, False, True]),
    "float16": np.array([0.5, -2], "f2"),
    "int64": np.array([-(2**62), 3]),
    "bfloat16 as Paddle has it": np.array([1, 65535], "u2"),
    "no axes": np.array(3, "f4"),
    "empty": np.zeros((0, 4), "f4"),
}
PLAIN = {
    "numbers": [1, -5, 2.5, 10**12, -(2**70), 255, 70000],
    "é": ("b", (None, True, False, ())),
    "deeper": {"a": {"b": []}},
}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


# What is genuine


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_back_from_every_protocol(protocol):
    found = unpickle_arrays(pickle.dumps(OrderedDict(ARRAYS), protocol=protocol))
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes() and np.array_equal(found[name], array), name
        assert found[name].flags.f_contiguous == array.flags.f_contiguous, name


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("read", [unpickle_plain, unpickle_arrays])
def test_plain_values_come_back_from_every_protocol(read, protocol):
    assert read(pickle.dumps(PLAIN, protocol=protocol)) == PLAIN


def test_an_array_that_stands_twice_is_one():
    array = ARRAYS["in C order"]
    found = unpickle_arrays(pickle.dumps({"a": array, "b": [array]}, protocol=2))
    assert found["a"] is found["b"][0]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_loads(protocol, tmp_path):
    layer = paddle.nn.Linear(2, 3)
    rate = paddle.optimizer.lr.CosineAnnealingDecay(0.1, 10)
    optimizer = paddle.optimizer.Adam(rate, parameters=layer.parameters())
    layer(paddle.ones([1, 2])).sum().backward()
    optimizer.step()
    nested = {"network": {"weight": layer.weight}, "list": [layer.bias], "epoch": 3}
    saved = {"a.pdparams": layer.state_dict(), "a.pdopt": optimizer.state_dict(), "nested.pdparams": nested}
    for name, content in saved.items():
        paddle.save(content, str(tmp_path / name), protocol=protocol)
    found = {name: read_pickle(tmp_path / name) for name in saved}
    np.testing.assert_array_equal(found["a.pdparams"]["weight"], layer.weight.numpy())
    moments = [name for name in found["a.pdopt"] if name.endswith("moment1_0")]
    assert found["a.pdopt"][moments[0]].shape in ((2, 3), (3,)) and found["a.pdopt"]["LR_Scheduler"]
    name, array = found["nested.pdparams"]["network"]["weight"]
    assert name == layer.weight.name
    np.testing.assert_array_equal(array, layer.weight.numpy())


def test_what_python_2_wrote_loads():
    """Its strings are bytes, its OrderedDict has its items as an argument."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01K\x02\x85"
        b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08" + struct.pack("<2f", 1.5, -0.25) + b"tb"
    )
    data = b"\x80\x02ccollections\nOrderedDict\n]]U\x01wa" + array + b"aa\x85R."
    found = unpickle_arrays(data)
    np.testing.assert_array_equal(found["w"], np.array([1.5, -0.25], "f4"))


# What is forged


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bomb-went-off",)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


EMPTY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
NUMBERS = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
OBJECTS = b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"


def _type(code: str = "f4", state: bytes = b"(K\x03X\x01\x00\x00\x00<" + NUMBERS + b"tb") -> bytes:
    return b"cnumpy\ndtype\n(" + _text(code) + b"\x89\x88tR" + state


def _array(dtype: bytes | None = None, shape: bytes = b"K\x02\x85", data: bytes = b"C\x08" + bytes(8)) -> bytes:
    return EMPTY + b"(K\x01" + shape + (_type() if dtype is None else dtype) + b"\x89" + data + b"tb"


def _table(value: bytes, key: bytes = b"X\x01\x00\x00\x00w") -> bytes:
    """A pickle of {key: value}."""
    return b"\x80\x02}" + key + value + b"s."


def test_control_the_forger_s_array_loads_where_nothing_is_forged():
    np.testing.assert_array_equal(unpickle_arrays(_table(_array()))["w"], np.zeros(2, "f4"))


FORGED = {
    # NumPy would take the bytes for pointers: reading the table ended in a segmentation fault, or in code being run
    "objects without flags": (_array(_type("O8", b"(K\x03X\x01\x00\x00\x00|" + NUMBERS + b"tb")), "data type 'O8'"),
    "objects by another name": (_array(_type("O")), "data type 'O'"),
    "a type that becomes objects": (_array(_type("f4", b"(K\x03X\x01\x00\x00\x00O" + NUMBERS + b"tb")), "byte order"),
    "flags": (
        _array(_type(state=b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb")),
        "not that of numbers",
    ),
    "an element size": (
        _array(_type(state=b"(K\x03X\x01\x00\x00\x00<NNNM\x00\x10J\xff\xff\xff\xffK\x00tb")),
        "not that of numbers",
    ),
    "fields": (
        _array(
            _type(state=b"(K\x03X\x01\x00\x00\x00<NX\x01\x00\x00\x00a\x85}J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb")
        ),
        "not that of numbers",
    ),
    "metadata": (_array(_type(state=b"(K\x04X\x01\x00\x00\x00<" + NUMBERS + b"}tb")), "another form"),
    "a state twice": (_array(_type() + b"(K\x03X\x01\x00\x00\x00>" + NUMBERS + b"tb"), "another form"),
    "a type without a state": (_array(_type(state=b"")), "without a data type"),
    "text": (_array(_type("U2")), "data type 'U2'"),
    "records": (_array(_type("f4,O8")), "data type 'f4,O8'"),
    "void": (_array(_type("V8")), "data type 'V8'"),
    "a class for a type": (_array(b"cnumpy\ndtype\n(cnumpy\nndarray\n\x89\x88tR"), "data type a Maker"),
    "bytes that are missing": (_array(data=b"C\x04" + bytes(4)), "4 bytes, expected 8 bytes"),
    "bytes too many": (_array(data=b"C\x09" + bytes(9)), "9 bytes, expected 8 bytes"),
    "a list for bytes": (_array(data=b"]"), "with a list"),
    "a negative size": (_array(shape=b"J\xff\xff\xff\xff\x85"), "no shape"),
    "sizes whose product overflows": (_array(shape=b"\x8a\x05\x00\x00\x00\x00\x01" * 2 + b"\x86"), "any memory"),
    "an enormous empty array": (
        _array(shape=b"(K\x00" + b"\x8a\x05\x00\x00\x00\x00\x01" * 4 + b"t", data=b"C\x00"),
        "any memory",
    ),
    "40 axes": (_array(shape=b"(" + b"K\x01" * 40 + b"t"), "no shape"),
    "a float for a size": (_array(shape=b"G@\x00\x00\x00\x00\x00\x00\x00\x85"), "no shape"),
    "an array without content": (EMPTY, "PendingArray without its content"),
    "a content twice": (_array() + b"(K\x01K\x02\x85" + _type() + b"\x89C\x08" + bytes(8) + b"tb", "sets the state"),
    "another class for an array": (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85C\x01btR",
        "something else than an array",
    ),
    "a scalar": (
        b"cnumpy.core.multiarray\nscalar\n(" + _type("O8") + b"C\x08" + bytes(8) + b"tR",
        "numpy.core.multiarray.scalar",
    ),
    "a NumPy number": (pickle.dumps(np.float64(1))[2:-1], "scalar"),
    "an array of objects": (pickle.dumps(np.array([{}], dtype=object), protocol=2)[2:-1], "data type 'O8'"),
    "a name alone": (b"cnumpy\nndarray\n", "Maker without its content"),
    "a class that is called": (b"cnumpy\nndarray\nK\x02\x85\x85R", "calls numpy.ndarray"),
    "another class": (b"cbuiltins\neval\n" + _text("1") + b"\x85R", "builtins.eval"),
    "a module's attribute": (b"cnumpy\nload\n" + _text("x") + b"\x85R", "numpy.load"),
    "a name with dots": (b"\x8c\x05numpy\x8c\x0fcore.multiarray\x93", "numpy.core.multiarray"),
    "copyreg": (b"ccopyreg\n_reconstructor\n(cnumpy\nndarray\ncnumpy\nndarray\nNtR", "copyreg._reconstructor"),
    "a class made without a call": (b"ccollections\nOrderedDict\n)\x81", "NEWOBJ"),
    "the same with keywords": (b"ccollections\nOrderedDict\n)}\x92", "NEWOBJ_EX"),
    "an instance": (b"(icollections\nOrderedDict\n", "INST"),
    "an object": (b"(ccollections\nOrderedDict\no", "OBJ"),
    "an extension": (b"\x82\x01", "EXT1"),
    "a persistent name": (b"Px\n", "PERSID"),
    "a persistent object": (_text("x") + b"Q", "BINPERSID"),
    "a buffer from outside": (b"\x97", "NEXT_BUFFER"),
    "a set": (b"\x8f", "EMPTY_SET"),
    "attributes of a dictionary": (b"}}" + _text("a") + b"K\x01sb", "sets the state of a dict"),
    "attributes of an OrderedDict": (b"ccollections\nOrderedDict\n)R}b", "sets the state of a dict"),
    "attributes of a function": (b"cnumpy\ndtype\n}b", "sets the state of a Maker"),
    "entries of an array": (_array() + _text("a") + b"K\x01s", "puts entries into a ndarray"),
    "an array that grows": (_array() + b"K\x01a", "appends to a ndarray"),
    "entries of a tuple": (b")K\x01a", "appends to a tuple"),
    "a tuple for a key": (b"})K\x01s", "a tuple for a key"),
    "a large number for a key": (b"}\x8a\x09" + b"\x01" * 9 + b"K\x01s", "a int for a key"),
    "an array for a key": (b"}" + _array() + b"K\x01s", "a ndarray for a key"),
    "a list of one that is no pair": (b"ccollections\nOrderedDict\n](K\x01eK\x01a\x85R", "else than pairs"),
    "text that is not latin1": (b"c_codecs\nencode\n" + _text("€") + _text("latin1") + b"\x86R", "not latin1"),
    "another encoding": (b"c_codecs\nencode\n" + _text("a") + _text("zip") + b"\x86R", "otherwise than as latin1"),
    "arguments that are no tuple": (b"cnumpy\ndtype\n]R", "no function"),
    "a call of text": (_text("a") + b")R", "no function"),
    "half a character": (_text("\ud800"), "half a character"),
    "a number of 80 bytes": (b"\x8aP" + b"\x7f" * 80, "a number of 639 bits"),
    "a number of 10,000 digits": (b"L" + b"9" * 10_000 + b"L\n", "a number of 150 digits"),
    "a list in itself": (b"]q\x00h\x00a", "holds itself"),
    "60 lists in one another": (b"]" * 60 + b"a" * 59, "nested more than 50 deep"),
}


@pytest.mark.parametrize(("value", "says"), FORGED.values(), ids=FORGED)
def test_a_forged_value_is_refused_by_name(value, says):
    with pytest.raises(pickle.UnpicklingError) as caught:
        unpickle_arrays(_table(value))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value) and str(caught.value).isascii() and len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "value", [b"cos\nsystem\n" + _text("touch bomb-went-off") + b"\x85R", pickle.dumps(Bomb())[:-1]]
)
def test_nothing_is_executed(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for read in (unpickle_arrays, unpickle_plain):
        with pytest.raises(pickle.UnpicklingError, match="system"):
            read(b"\x80\x04" + value.removeprefix(b"\x80\x04") + b".")
    assert not list(tmp_path.iterdir())


def test_a_table_that_is_to_be_plain_names_no_array():
    with pytest.raises(pickle.UnpicklingError, match="numpy"):
        unpickle_plain(pickle.dumps({"w": np.zeros(1)}))


def test_a_forged_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "forged.pdparams"
    path.write_bytes(_table(FORGED["objects without flags"][0]))
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    assert str(path) in str(caught.value) and "not a checkpoint" in str(caught.value)


# Bombs


def _shared(levels: int) -> tuple:
    value: tuple = ()
    for _ in range(levels):
        value = (value, value)
    return value


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pickle.dumps({"w": _shared(60)}), "more than 2,000,000 values"),
        (pickle.dumps([_shared(40)]), "more than 2,000,000 values"),
        (b"\x80\x04](" + b"}" * 2_100_000 + b"e.", "more than 2,000,000 instructions"),
        (b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than 50 deep"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40), "ends too early"),
        (b"\x80\x04\x8b" + struct.pack("<i", 1 << 30), "truncated or damaged"),
        # one text of a megabyte made bytes, and one list a dictionary, over and over
        (
            b"\x80\x02]("
            + _text("a" * (1 << 20))
            + b"q\x00"
            + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 50,
            "makes more values than it holds",
        ),
        (
            b"\x80\x02](](" + b"]K\x01aK\x01a" * 1000 + b"eq\x00" + b"ccollections\nOrderedDict\nh\x00\x85R" * 5000,
            "makes more values than it holds",
        ),
    ],
    ids=["tuples", "list", "dictionaries", "depth", "bytes that are not there", "digits", "texts", "items"],
)
def test_a_bomb_is_refused(data, says):
    with pytest.raises(pickle.UnpicklingError, match=says):
        unpickle_arrays(data)


def test_one_array_under_many_keys_counts_as_often(monkeypatch):
    """Whoever hashes or copies the table would take it so often."""
    table = dict.fromkeys(map(str, range(100)), np.zeros(1000, "f4"))
    assert len(unpickle_arrays(pickle.dumps(table))) == 100
    monkeypatch.setattr("ocrslim.formats.nesting.MOST_BYTES", 100_000)
    with pytest.raises(pickle.UnpicklingError, match="more than 100,000 bytes"):
        unpickle_arrays(pickle.dumps(table))


def test_a_sparse_file_of_a_terabyte_is_refused_unread(tmp_path):
    path = tmp_path / "sparse.pdparams"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(pickle.UnpicklingError, match="1,099,511,627,776 bytes, expected at most"):
        read_pickle(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_truncated_pickle_is_damaged(protocol, share):
    data = pickle.dumps({**ARRAYS, **PLAIN}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="truncated or damaged"):
        unpickle_arrays(data[: int(len(data) * share)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flipped_bytes_load_or_are_refused(protocol):
    data = pickle.dumps({**ARRAYS, **PLAIN}, protocol=protocol)
    rng = np.random.default_rng(protocol)
    outcomes = set()
    for _ in range(300):
        broken = bytearray(data)
        broken[rng.integers(len(data))] = rng.integers(256)
        try:
            unpickle_arrays(bytes(broken))
            outcomes.add("loads")
        except pickle.UnpicklingError as error:
            assert len(str(error)) < 400
            outcomes.add("refused")
    assert outcomes == {"loads", "refused"}


def test_every_instruction_of_the_reader_is_one_of_python_s():
    import pickletools

    known = {instruction.name for instruction in pickletools.opcodes}
    assert known > set(safe_pickle._MEANING)
