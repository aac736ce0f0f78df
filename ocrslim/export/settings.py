"""The `inference.yml` of an export: how clients run it, with every value written out."""

from __future__ import annotations

from typing import Any

from ocrslim.config import OWN_SETTINGS, Config


def client_settings(config: Config) -> dict[str, Any]:
    """Return pre- and post-processing for clients, in the form of PaddleOCR 3's `inference.yml`."""
    transforms = config.section("Eval").get("dataset", {}).get("transforms", [])
    section = config.section("PostProcess")
    own = config.task.own_settings(transforms, section)
    return {
        "Global": {"model_name": config.get("Global.model_name") or config.task.export_name},
        "PreProcess": {"transform_ops": config.task.client_transforms(transforms)},
        "PostProcess": config.task.client_post_process(section, config.section("Global")),
        **({OWN_SETTINGS: own} if own else {}),
    }
