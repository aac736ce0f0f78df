"""Keys of a configuration with values that they cannot have: a wrong type or range each, drawn by the key's name."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ..case import Case, Place, Prepare, Refused, command, slug

FAMILY = "settings"
_PER_KEY = 2
_HUGE = "1" + "0" * 36
_NEVER_A_NUMBER = ("a text", "[1]", "{a: 1}", "true", ".nan", ".inf", "''", "!!float ''", "2026-01-01", '"\\ud800"')
_NO_WHOLE = (*_NEVER_A_NUMBER, "1.5", _HUGE, "9" * 400, "-" + _HUGE, "1.0e+30")
_NO_TEXT = ("[1]", "{a: 1}", "17", "1.5", "true", "''", "'  '", '"a\\0b"', '"a\\ud800b"')
_WRONG: dict[str, tuple[str, ...]] = {
    "whole from 1": (*_NO_WHOLE, "0", "-1"),
    "whole from 0": (*_NO_WHOLE, "-1"),
    "whole from 4": (*_NO_WHOLE, "0", "-16", "6"),
    "flag": ("1", "0", "2", "maybe", "'true'", "[true]", "{a: true}", "1.5", "''", "!!bool maybe", _HUGE),
    "above 0": (*_NEVER_A_NUMBER, "0", "-1", "-1.0e-300", "1.0e+400", "9" * 400),
    "from 0": (*_NEVER_A_NUMBER, "-1", "-0.001", "1.0e+400", "9" * 400),
    "0 to 1": (*_NEVER_A_NUMBER, "-0.1", "1.1", "50", _HUGE),
    "below 1": (*_NEVER_A_NUMBER, "-0.1", "1.0", "1.5", _HUGE),
    "inside 0 and 1": (*_NEVER_A_NUMBER, "0", "1", "-0.1", "1.1", _HUGE),
    "choice": ("Nothing", "17", "[DB]", "{a: 1}", "true", ".nan", '"\\ud800"', "''"),
    "scale": ("0.37", "0", "-0.5", "large", "[0.5]", ".nan", _HUGE),
    "path": ("[a]", "{a: 1}", "17", "true", '"a\\0b"', '"a\\ud800b"', "''", "x" * 5000),
    "paths": ("{a: 1}", "17", "[]", "[1]", "[[a]]", "true", '["a\\0b"]', '["a\\ud800b"]', "''"),
    "patterns": ("{a: 1}", "17", "[1]", "[[a]]", "true", "[null]"),
    "ratios": ("[]", "0.5", "[0]", "[1]", "[1.5]", "[a]", "[0.5, 0.5]", "[0.9, 0.1]", "[.nan]", "{a: 1}", "[-0.5]"),
    "shares": ("[]", "0", "[0]", "5", "[-1]", "[.nan]", "a", "[1.0, 1.0]", "{a: 1}", "[[1]]"),
    "section": ("17", "a text", "[1, 2]", "true", "{nothing: 1}", "{name: Nothing}", "{name: [1]}", "{name: 17}"),
    "transforms": ("17", "{a: 1}", "[]", "[1]", "[[a]]", "[{a: 1, b: 2}]", "[{}]", "[{DecodeImage: 5}]", "[null]"),
    "step": ("0", "-5", "[0]", "[0, 0]", "[-1, 5]", "[0, 5, 5]", "[a, b]", "{a: 1}", "a", f"[0, {_HUGE}]", "[1.5, 2]"),
    "shard": ("3/2", "0/0", "0/4", "a/b", "17", "[1, 2]", "1/2/3", "-1/2"),
    "target": ("0.5", "[0.5]", "{macs: 0}", "{macs: 1}", "{macs: -1}", "{macs: a}", "{nothing: 0.5}", "{macs: .nan}",
               "{macs: 0.5, params: 0.5}", "{macs: [0.5]}"),
    "distill": ("5", "[1]", "{maps: -1}", "{fade: 2}", "{nothing: 1}", "{maps: .inf}", "{features: a}"),
    "epochs": ("[]", "[0]", "[5, 5]", "[9, 1]", "[a]", "17", "{a: 1}", "[.nan]", "[-3, 4]"),
    "rates": ("[]", "[-1]", "[a]", "17", "{a: 1}", "[.inf]", "[0.1]", "[0.1, 0.1, 0.1, 0.1]"),
}  # fmt: skip

# key: kind, and the command that needs it
_KEYS: dict[str, tuple[str, str]] = {
    **{f"Global.{key}": ("flag", "eval") for key in ("use_gpu", "use_amp", "use_visualdl", "overwrite")},
    **{f"Global.{key}": ("whole from 1", "train") for key in ("epoch_num", "print_batch_step", "save_epoch_step")},
    "Global.eval_batch_step": ("step", "train"),
    "Global.seed": ("whole from 0", "groups"),
    **{f"Global.{key}": ("path", "train") for key in ("save_model_dir", "checkpoints", "init_backbone")},
    "Global.save_inference_dir": ("path", "export"),
    "Global.pretrain_weights": ("path", "eval"),
    "Global.test_batch_size_per_card": ("whole from 1", "eval"),
    "Global.amp_dtype": ("choice", "train"),
    "Global.scale_loss": ("above 0", "train"),
    "Architecture": ("section", "groups"),
    "Architecture.model_type": ("choice", "groups"),
    "Architecture.algorithm": ("choice", "groups"),
    **{f"Architecture.{part}": ("section", "groups") for part in ("Backbone", "Neck", "Head")},
    "Architecture.Backbone.name": ("choice", "groups"),
    "Architecture.Backbone.scale": ("scale", "groups"),
    "Architecture.Backbone.model_name": ("choice", "groups"),
    "Architecture.Backbone.disable_se": ("flag", "groups"),
    "Architecture.Backbone.in_channels": ("whole from 1", "groups"),
    "Architecture.Neck.out_channels": ("whole from 4", "groups"),
    "Architecture.Head.k": ("above 0", "groups"),
    "Loss": ("section", "train"),
    "Loss.balance_loss": ("flag", "train"),
    "Loss.main_loss_type": ("choice", "train"),
    **{f"Loss.{key}": ("from 0", "train") for key in ("alpha", "beta", "ohem_ratio")},
    "Loss.eps": ("above 0", "train"),
    "Optimizer": ("section", "train"),
    "Optimizer.name": ("choice", "train"),
    "Optimizer.beta1": ("below 1", "train"),
    "Optimizer.epsilon": ("above 0", "train"),
    "Optimizer.lr": ("section", "train"),
    "Optimizer.lr.learning_rate": ("from 0", "train"),
    "Optimizer.lr.warmup_epoch": ("from 0", "train"),
    "Optimizer.regularizer": ("section", "train"),
    "Optimizer.regularizer.factor": ("from 0", "train"),
    "Optimizer.clip_norm": ("above 0", "train"),
    "Optimizer.clip_norm_global": ("above 0", "train"),
    "Optimizer.ema.decay": ("below 1", "train"),
    "PostProcess": ("section", "eval"),
    "PostProcess.thresh": ("0 to 1", "eval"),
    "PostProcess.box_thresh": ("0 to 1", "predict"),
    "PostProcess.max_candidates": ("whole from 1", "eval"),
    "PostProcess.unclip_ratio": ("above 0", "predict"),
    "PostProcess.use_dilation": ("flag", "eval"),
    "PostProcess.score_mode": ("choice", "eval"),
    "PostProcess.box_type": ("choice", "predict"),
    "Metric.main_indicator": ("choice", "sensitivity"),
    "Train.dataset": ("section", "train"),
    "Eval.dataset.name": ("choice", "eval"),
    "Eval.dataset.data_dir": ("path", "eval"),
    "Train.dataset.data_dir": ("path", "train"),
    "Eval.dataset.label_file_list": ("paths", "eval"),
    "Train.dataset.label_file_list": ("paths", "train"),
    "Train.dataset.ratio_list": ("shares", "train"),
    "Eval.dataset.ratio_list": ("shares", "eval"),
    "Train.dataset.transforms": ("transforms", "train"),
    "Eval.dataset.transforms": ("transforms", "eval"),
    "Train.loader": ("section", "train"),
    "Train.loader.batch_size_per_card": ("whole from 1", "train"),
    "Train.loader.num_workers": ("whole from 0", "train"),
    "Train.loader.shuffle": ("flag", "train"),
    "Train.loader.drop_last": ("flag", "train"),
    "Eval.loader.batch_size_per_card": ("whole from 1", "eval"),
    "Prune": ("section", "dry-run"),
    "Prune.criterion": ("choice", "sensitivity"),
    "Prune.group_score": ("choice", "sensitivity"),
    "Prune.calibration_batches": ("whole from 1", "sensitivity"),
    "Prune.ratios": ("ratios", "sensitivity"),
    "Prune.layers": ("patterns", "sensitivity"),
    "Prune.mode": ("choice", "sensitivity"),
    "Prune.engine": ("choice", "sensitivity"),
    "Prune.workers": ("whole from 1", "sensitivity"),
    "Prune.cache_gib": ("from 0", "sensitivity"),
    "Prune.budget_minutes": ("above 0", "sensitivity"),
    "Prune.shard": ("shard", "sensitivity"),
    "Prune.skip": ("patterns", "dry-run"),
    "Prune.skip_first": ("whole from 0", "dry-run"),
    "Prune.skip_ratio": ("inside 0 and 1", "dry-run"),
    "Prune.skip_loss": ("from 0", "dry-run"),
    "Prune.sen_file": ("path", "dry-run"),
    "Prune.loss_tolerance": ("0 to 1", "dry-run"),
    "Prune.target": ("target", "dry-run"),
    "Prune.rounds": ("whole from 1", "dry-run"),
    "Prune.align": ("whole from 1", "dry-run"),
    "Prune.trial_minutes": ("from 0", "prune"),
    "Prune.recover": ("flag", "prune"),
    "Prune.recover_images": ("whole from 4", "prune"),
    "Prune.distill": ("distill", "prune"),
    "Prune.min_channels": ("whole from 1", "dry-run"),
    "Export": ("section", "export"),
    "Export.runtime": ("choice", "export"),
    "Export.rewrite": ("flag", "export"),
    "Export.threads": ("whole from 1", "export"),
    "Export.int8": ("flag", "export"),
    "Export.int8_tolerance": ("0 to 1", "export"),
}
_MEANT = {  # values that mean something at one key although they mean nothing at others of its kind
    "Prune.recover_images": ("6",),
    "Prune.workers": ("''",),
    **{f"Global.{key}": ("''",) for key in ("checkpoints", "init_backbone")},
    "Prune.sen_file": ("''",),
    "Global.save_inference_dir": ("''",),
    "Global.save_epoch_step": (_HUGE, "9" * 400, "1.0e+30"),  # never
}
_OWN: dict[str, list[str]] = {
    "predict": ["--images", "pages", "--out", "seen"],
    "dry-run": ["--dry-run"],
}


def cases() -> Iterator[Case]:
    """Some wrong values for each key, never one twice."""
    for key, (kind, stage) in _KEYS.items():
        values = [value for value in _WRONG[kind] if value not in _MEANT.get(key, ())]
        names = rf"{key}|{_canonical(key)}".replace(".", r"\.")
        for number, value in enumerate(random.Random(f"{FAMILY}:{key}").sample(values, _PER_KEY), 1):
            name = slug(f"{key}-{number}-{value}", 70)
            yield Case(FAMILY, name, _given(stage, f"{key}={value}"), Refused(names))


def _canonical(key: str) -> str:
    renamed = {
        "Global.pretrain_weights": "Global.pretrained_model",
        "Global.test_batch_size_per_card": "Eval.loader.batch_size_per_card",
    }
    return renamed.get(key, key)


def _given(stage: str, option: str) -> Prepare:
    def prepare(place: Place) -> list[str]:
        place.standard()
        return command("prune" if stage == "dry-run" else stage, option, more=_OWN.get(stage, ()))

    return prepare
