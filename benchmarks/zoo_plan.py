"""Which architectures there are: the distinct `Architecture` sections of PaddleOCR's configurations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from paths import REPO

from ocrslim.config.translation import translate
from ocrslim.config.yaml_reader import read_yaml
from ocrslim.utils import hash_bytes, hash_value

KINDS = ("det", "rec", "cls")
COMPATIBLE = REPO.parent / "shared/compat/state_dicts.json"
NAMED = "state_dicts"  # what the names of its architectures begin with
_SECTIONS = ("Global", "Architecture", "Loss", "PostProcess", "Metric")  # that a network and its labels follow from


@dataclass
class Case:
    """One architecture.

    Attributes:
        name: its first configuration, from the top of the folder of configurations.
        kind: of `KINDS`.
        also: other configurations with the same section.
        algorithm: `Architecture.algorithm`.
        path: of the configuration as it is; None where there is no file.
        tree: what its network follows from, as a configuration without training.
    """

    name: str
    kind: str
    algorithm: str
    path: str | None
    tree: dict[str, Any]
    also: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What it is known by: another tree is another architecture."""
        return f"{self.name} {hash_value(self.tree)[:8]}"

    def request(self) -> dict[str, Any]:
        """The case as JSON."""
        return asdict(self)


def cases(checkout: Path | None) -> list[Case]:
    """Each architecture once: those of a checkout, or those known here where there is none.

    A distillation counts as its student. Of files with one section, the first that is no distillation gives the name.
    """
    found: dict[str, Case] = {}
    for _, case in sorted(_of_files(checkout or REPO), key=lambda pair: pair[0]):
        first = found.setdefault(hash_value(case.tree["Architecture"]), case)
        if first is not case:
            first.also.append(case.name)
    if checkout is None:
        for case in _of_state_dicts():
            found.setdefault(hash_value(case.tree["Architecture"]), case)
    return sorted(found.values(), key=lambda one: (KINDS.index(one.kind), one.name))


def _of_files(folder: Path) -> Iterator[tuple[bool, Case]]:
    """Yield the configurations of a folder, and whether each is a distillation's."""
    configs = folder / "configs"
    paths = [path for kind in KINDS for path in configs.glob(f"{kind}/**/*") if path.suffix in (".yml", ".yaml")]
    for path in sorted(paths):
        tree, _ = read_yaml(path)
        if not isinstance((tree or {}).get("Architecture"), dict):
            continue
        assert tree is not None
        distilled = "Models" in tree["Architecture"]
        translate(tree)
        name = path.relative_to(configs).as_posix()
        kind = name.partition("/")[0]
        algorithm = str(tree["Architecture"].get("algorithm"))
        yield distilled, Case(name, kind, algorithm, str(path), _network_part(tree))


def _network_part(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's sections that decide about the network, its input and the labels that it trains with."""
    kept = {name: tree[name] for name in _SECTIONS if name in tree}
    for mode in ("Train", "Eval"):
        dataset = (tree.get(mode) or {}).get("dataset")
        if isinstance(dataset, dict):
            kept[mode] = {"dataset": dataset}
    return kept


def _of_state_dicts() -> Iterator[Case]:
    """The architectures whose weights PaddleOCR's code is known to give; their sizes are complete."""
    if not COMPATIBLE.is_file():
        return
    for name, one in json.loads(COMPATIBLE.read_text(encoding="utf-8")).items():
        architecture = one["architecture"]
        settings = {"d2s_train_image_shape": one["input_shape"][1:]}
        kind, algorithm = str(architecture["model_type"]), str(architecture["algorithm"])
        yield Case(f"{NAMED}/{name}", kind, algorithm, None, {"Global": settings, "Architecture": architecture})


def code_of(folder: Path) -> dict[str, Any]:
    """Identify a copy of PaddleOCR's networks, of which nobody else knows where it lies."""
    files = sorted((folder / "ppocr/modeling").glob("**/*.py"))
    return {"files": len(files), "sha256": hash_bytes(*(path.read_bytes() for path in files))[:12]}
