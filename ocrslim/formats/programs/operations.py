"""The operations that a program from elsewhere may have: those that compute tensors from tensors, and nothing else.

Paddle runs whatever a program holds. `save_combine` writes its input to any path, `py_func` calls Python, engines load
libraries, collectives open connections, `as_strided` reads memory that is not the tensor's. So what is not listed here
does not run. Control flow (`while`, `conditional_block`) is left out as well: no detector has it, and it may never end.
"""

from __future__ import annotations

_BOTH = """
    abs acos argsort asin assign assign_value atan batch_norm bicubic_interp bilinear_interp bmm cast ceil clip
    concat conv2d conv2d_transpose conv3d conv3d_transpose cos cumsum deformable_conv depthwise_conv2d
    depthwise_conv2d_transpose dequantize_linear diag_embed dot dropout elu equal erf exp expand eye
    fake_channel_wise_dequantize_max_abs fake_channel_wise_quantize_dequantize_abs_max
    fake_quantize_dequantize_abs_max fake_quantize_dequantize_moving_average_abs_max fc fetch flatten flip floor
    full_int_array gather gather_nd gelu greater_equal greater_than group_norm index_select instance_norm layer_norm
    leaky_relu less_equal less_than linear_interp linspace log logical_and logical_not logical_or logical_xor
    log_softmax logsigmoid matmul max_pool2d_with_index mean meshgrid mish nearest_interp norm not_equal p_norm pad
    pad3d pixel_shuffle pixel_unshuffle pool2d pool3d pow prelu quantize_linear reciprocal relu relu6
    repeat_interleave reshape rnn roll round rsqrt scale selu shape shape64 sigmoid sign silu sin slice softmax softplus
    softsign split sqrt square squeeze stack strided_slice sum swish tan tanh temporal_shift tile transpose
    tril_triu unbind unfold unsqueeze unstack where
"""
# as `.pdmodel` names them
_LEGACY = """
    affine_channel affine_grid arg_max arg_min bicubic_interp_v2 bilinear_interp_v2 brelu channel_shuffle
    deformable_conv_v1 diag_v2 elementwise_add elementwise_div elementwise_floordiv elementwise_max elementwise_min
    elementwise_mod elementwise_mul elementwise_pow elementwise_sub expand_as_v2 expand_v2 feed fill_any_like
    fill_constant fill_constant_batch_size_like fill_zeros_like flatten2 flatten_contiguous_range grid_sampler
    hard_sigmoid hard_swish im2sequence increment linear_interp_v2 lookup_table lookup_table_v2 matmul_v2 mul
    nearest_interp_v2 one_hot one_hot_v2 pad2d range reduce_all reduce_any reduce_max reduce_mean reduce_min
    reduce_prod reduce_sum reshape2 reverse set_value shuffle_channel size space_to_depth squeeze2 top_k top_k_v2
    transpose2 trilinear_interp_v2 unsqueeze2 where_index
"""
# as PIR (`.json`) names them, without the number of their dialect and the underscore of what works in place
_PIR = """
    add add_n addmm affine_channel affine_grid all amax amin any arange argmax argmin assign_out channel_shuffle
    data diag divide elementwise_pow embedding expand_as feed floor_divide full full_batch_size_like full_like
    full_with_tensor grid_sample hardsigmoid hardswish hardtanh increment logsumexp matmul_with_flatten max maximum
    mean_all min minimum multiply nonzero numel one_hot prod remainder reverse set_value set_value_with_tensor
    shuffle_channel split_with_num subtract topk tril trilinear_interp triu
"""
LEGACY_OPERATIONS = frozenset(_BOTH.split()) | frozenset(_LEGACY.split())
# the dialects of PIR: those of lists of values, and of tensors
PIR_OPERATIONS = frozenset({"0.combine", "0.split", "0.slice"}) | {f"1.{name}" for name in (_BOTH + _PIR).split()}
