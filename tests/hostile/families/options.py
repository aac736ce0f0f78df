"""Options that are well-formed and mean nothing."""

from __future__ import annotations

from ..forging import SHELL

_PYTHON = f"__import__('os').system('{SHELL}')"
_RESIZE = "DetResizeForTest|image_shape|limit|resize"

# one option, the command that needs it, what an error must name
OPTIONS: list[tuple[str, str, str]] = [
    *[
        (f"Train.dataset.transforms.EastRandomCropData.size={size}", "train", "EastRandomCropData|size")
        for size in (
            *("[65, 65]", "[0, 0]", "[-32, -32]", "[64]", "[64, 64, 64]", "[a, b]", "null", "64", "{a: 1}", "[48, 64]"),
            *("[1000000000, 1000000000]", "[64.5, 64]", "[.nan, 64]"),
        )
    ],
    *[
        (f"Eval.dataset.transforms.DetResizeForTest={{{arguments}}}", stage, _RESIZE)
        for arguments, stage in (
            *(("image_shape: [65, 97]", "eval"), ("image_shape: [0, 0]", "eval")),
            ("image_shape: [-64, 64]", "predict"),
            *(("image_shape: [64]", "eval"), ("image_shape: 64", "predict"), ("image_shape: [a, b]", "eval")),
            *(("image_shape: [64, 64, 3]", "eval"), ("image_shape: [1000000000, 1000000000]", "eval")),
            *(("image_shape: [100000, 100000]", "predict"), ("image_shape: [.nan, 64]", "eval")),
            *(("limit_side_len: 0", "eval"), ("limit_side_len: -960", "predict"), ("limit_side_len: many", "eval")),
            *(("limit_side_len: 1000000000000", "eval"), ("limit_side_len: 100000, limit_type: min", "predict")),
            *(("limit_side_len: [960]", "eval"), ("limit_side_len: .inf", "predict"), ("limit_type: nothing", "eval")),
            *(("limit_side_len: 64, limit_type: middle", "predict"), ("limit_side_len: 64, limit_type: 7", "eval")),
            *(("resize_long: 0", "eval"), ("resize_long: -64", "predict"), ("resize_long: x", "eval")),
            *(("limit_side: 960", "eval"), ("image_shap: [64, 64]", "predict"), ("nothing: 1", "export")),
        )
    ],
    *[
        (f"Train.dataset.transforms.{argument}", "train", argument.partition(".")[0])
        for argument in (
            *("MakeShrinkMap.shrink_ratio=-0.4", "MakeShrinkMap.shrink_ratio=0", "MakeShrinkMap.shrink_ratio=5"),
            *("MakeShrinkMap.shrink_ratio=x", "MakeShrinkMap.min_text_size=-8", "MakeShrinkMap.min_text_size=x"),
            *("MakeShrinkMap.shrink_ration=0.4", "MakeBorderMap.shrink_ratio=-1", "MakeBorderMap.shrink_ratio=.nan"),
            *("MakeBorderMap.thresh_min=-5", "MakeBorderMap.thresh_max=0.1", "MakeBorderMap.thresh_min=x"),
            *("MakeBorderMap.nothing=1", "EastRandomCropData.max_tries=-1", "EastRandomCropData.max_tries=x"),
            "EastRandomCropData.keep_ratio=maybe",
            *("EastRandomCropData.min_crop_side_ratio=-1", "EastRandomCropData.nothing=1", "DecodeImage.img_mode=XYZ"),
            *("DecodeImage.nothing=1", "NormalizeImage.std=[0, 0, 0]", "NormalizeImage.mean=[0.5, 0.5]"),
            *("NormalizeImage.mean=x", "NormalizeImage.order=xyz", "NormalizeImage.scale=1/0"),
            "NormalizeImage.scale=x",
            *("NormalizeImage.std=[.nan, 1, 1]", "NormalizeImage.scale=1e400", "NormalizeImage.nothing=1"),
            *(f'NormalizeImage.scale="{_PYTHON}"', "KeepKeys.keep_keys=[nothing]", "KeepKeys.keep_keys=[]"),
            *("KeepKeys.keep_keys=[image]", "KeepKeys.keep_keys=17", "KeepKeys.nothing=1", "ToCHWImage={nothing: 1}"),
            *("DetLabelEncode={nothing: 1}", "IaaAugment.augmenter_args=17", "IaaAugment.augmenter_args=[17]"),
            *("IaaAugment.augmenter_args=[{type: Nothing, args: {}}]", "IaaAugment.augmenter_args=[{args: {p: 1}}]"),
            *("IaaAugment.augmenter_args=[{type: Fliplr, args: {p: 5}}]",),
            *("IaaAugment.augmenter_args=[{type: Fliplr, args: {nothing: 5}}]",),
            *("IaaAugment.augmenter_args=[{type: Affine, args: {rotate: text}}]",),
            *("IaaAugment.augmenter_args=[{type: Resize, args: {size: [-1, 3]}}]",),
            *("IaaAugment.augmenter_args=[{type: Resize, args: {size: [0, 0]}}]",),
            *("IaaAugment.augmenter_args=[{type: Resize, args: {size: [1000, 2000]}}]",),
            *("IaaAugment.augmenter_args=[{type: Resize, args: {size: 0.5}}]", "IaaAugment.nothing=1"),
        )
    ],
    ("Eval.dataset.transforms.NormalizeImage.std=[0, 0, 0]", "eval", "NormalizeImage"),
    (f'Eval.dataset.transforms.NormalizeImage.scale="{_PYTHON}"', "eval", "NormalizeImage"),
    ("Eval.dataset.transforms.DecodeImage.img_mode=XYZ", "predict", "DecodeImage"),
    ("Eval.dataset.transforms.Nothing=1", "eval", "Nothing"),
    *[(f"Optimizer.lr.learning_rate={rate}", "train", "learning_rate") for rate in ("1e30", "1.0e+30", "1e300")],
    ("Optimizer.lr.warmup_epoch=1e30", "train", "warmup_epoch"),
    ("Optimizer.lr={name: Piecewise, decay_epochs: [5], values: [0.1]}", "train", "values"),
    ("Optimizer.lr={name: Piecewise, decay_epochs: [5, 3], values: [0.1, 0.1, 0.1]}", "train", "decay_epochs"),
    ("Optimizer.lr={name: Piecewise, decay_epochs: [5], values: [0.1, 1e30]}", "train", "values"),
    ("Optimizer.lr={name: Piecewise}", "train", r"Optimizer\.lr"),
    *[(f"PostProcess.unclip_ratio={value}", "eval", "unclip_ratio") for value in ("1e30", "0", "-1.5", "1e-400")],
    ("PostProcess.max_candidates=1000000000000000000000000000000000000", "predict", "max_candidates"),
    ("PostProcess.nothing=1", "eval", "nothing"),
    *[(f"Prune.skip={value}", "real dry-run", r"Prune\.skip") for value in ("[zzz*]", "conv99_weights", '["["]')],
    ("Prune.skip=[zzz*]", "real prune", r"Prune\.skip"),
    *[(f"Prune.layers={value}", "sensitivity", r"Prune\.layers") for value in ("[zzz*]", "conv99_weights", "[]")],
    ("Prune.target={macs: 0.99999}", "real dry-run", r"Prune\.target|macs"),
    ("Prune.rounds=3", "dry-run", r"Prune\.rounds"),
    ("Prune.workers=1000000000", "real sensitivity", r"Prune\.workers"),
    ("Prune.cache_gib=1e30", "real sensitivity", r"Prune\.cache_gib"),
    *[(f"Architecture.Neck.out_channels={n}", "groups", "out_channels") for n in ("4000000000", "4000000")],
    ("Architecture.Neck.name=PSEFPN", "groups", r"Neck\.name"),
    ("Architecture.Transform={name: TPS}", "groups", "Transform"),
    ("Train.loader.batch_size_per_card=100000000000000000000", "train", "batch_size_per_card"),
    ("Eval.loader.batch_size_per_card=2", "eval", "batch_size_per_card"),
    ("Train.dataset.ratio_list=[0.0001]", "train", "ratio_list"),
    ("Eval.dataset.label_file_list=[missing.txt]", "eval", "missing"),
    ("Eval.dataset.label_file_list=[pages]", "eval", "label_file_list|pages"),
    ("Eval.dataset.data_dir=c.yml", "eval", r"data_dir|c\.yml"),
    ("Train.dataset.data_dir=missing", "train", "data_dir|missing"),
    *[
        (f"Global.save_model_dir={value}", stage, "save_model_dir|out|c.yml|/dev|/proc|x")
        for value, stage in (
            *(("c.yml", "train"), ("c.yml/out", "sensitivity"), ("/dev/null/out", "train"), ("/proc/out", "prune")),
            *(("x" * 300, "train"), ("/dev/full", "sensitivity")),
        )
    ],
    *[
        (f"Global.save_inference_dir={value}", "export", "save_inference_dir|folder|/|c.yml|holds|loop")
        for value in ("c.yml", "c.yml/out", "pages", ".", "/", "/proc/out", "/dev/null", "loop", "loop/inside", "''")
    ],
    *[(f"Global.infer_img={value}", "export", "infer_img") for value in ("17", "[a]", "{a: 1}", "true")],
    ("Global.infer_img=pages/label.txt", "export", "infer_img|label"),
]  # fmt: skip
