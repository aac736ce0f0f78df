"""The line that says why Paddle failed: the cause, and neither the place in its sources nor its advice."""

from __future__ import annotations

import paddle
import pytest
from paddle import nn

from ocrslim.utils import cause_of

# What Paddle 3.1.1 says where PaddleOCR's SATRN and RobustScanner are traced; both masks depend on `valid_ratio`.
CONTROL_FLOW = """In transformed code:

    File "ppocr/modeling/heads/rec_satrn_head.py", line 295, in forward
\tfor i, valid_ratio in enumerate(valid_ratios):
    File "ppocr/modeling/heads/rec_satrn_head.py", line 296, in forward
        mask = paddle.zeros((n, h, w))
        for i, valid_ratio in enumerate(valid_ratios):
            valid_width = int(min(w, paddle.ceil(w * valid_ratio)))
            ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE
            mask[i, :, :valid_width] = 1

    File "paddle/pir/math_op_patch.py", line 648, in _bool_
\traise TypeError(textwrap.dedent(error_msg))

    TypeError: bool(Tensor) is not supported in static graph mode. Because it's value is not available during the \
static mode.
If you haven't call bool(Tensor) explicitly, it's usually triggered by the control flow implicitly, for example:
    >>> if x > 0:
           ^ `x` is Tensor, `x` > 0 is also a Tensor, `if x > 0` triggers bool(Tensor)
    ...     y = y + 1

There are two common workarounds available:
    Modify the following code
    >>> if x > 0:
    ...     raise ValueError("x should be positive")
    to
    >>> pred = paddle.less_than(x=x, y=y, name=None)
    >>> y = paddle.static.nn.cond(pred, lambda: y + 1, lambda: y - 1)
    For more info, please refer to https://www.paddlepaddle.org.cn/documentation/docs/zh/api/paddle/static/nn/cond_cn.html


"""
LABELS = """In transformed code:

    File "ppocr/modeling/heads/rec_robustscanner_head.py", line 728, in forward
        valid_ratios = None
        word_positions = targets[-1]
        ~~~~~~~~~~~~~~~~~~~~~~~~~~~~ <--- HERE


    TypeError: 'NoneType' object is not subscriptable
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONTROL_FLOW, "TypeError: bool(Tensor) is not supported in static graph mode. Because it's value is not"),
        (LABELS, "TypeError: 'NoneType' object is not subscriptable"),
    ],
    ids=["SATRN", "RobustScanner"],
)
def test_of_a_trace_the_cause_is_shown(text, expected):
    assert cause_of(TypeError(text)).startswith(expected)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: paddle.zeros([2, 3]).reshape([4, 2]), r"(InvalidArgument) The 'shape' in ReshapeOp is invalid. The "),
        (lambda: nn.Conv2D(3, 4, 1)(paddle.zeros([1, 5, 8, 8])), "(InvalidArgument) The number of input's channels "),
    ],
    ids=["reshape", "convolution"],
)
def test_of_an_operator_what_it_says_is_shown_and_not_the_condition_in_its_sources(call, expected):
    with pytest.raises(ValueError, match="InvalidArgument") as caught:
        call()
    line = cause_of(caught.value)
    assert line.startswith(expected) and "\n" not in line and "Hint" not in line and len(line) <= 240


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("first\n\nsecond (at /paddle/x.cc:1)\n"), "second"),
        (AssertionError(), "AssertionError"),
        (ValueError("x" * 500), "x" * 237 + "..."),
        (ValueError("RuntimeError: one\nValueError: two\nadvice"), "ValueError: two"),
    ],
    ids=["last line", "no text", "long", "nested"],
)
def test_of_another_error_the_last_line_is_shown(error, expected):
    assert cause_of(error) == expected
