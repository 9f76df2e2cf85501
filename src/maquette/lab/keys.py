"""Keys: fingerprints of all that a result depends on, so that it is made again when that changes, and only then."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maquette.core.files import fingerprint
from maquette.core.provenance import PACKAGE, commit, source_hash
from maquette.lab.artifacts import artifact_key
from maquette.lab.scales import Scale
from maquette.lab.study import Study


def code_of(study: Study) -> str:
    """The hash of all code that the study's trials run."""
    return source_hash(study.trial, *{type(config) for arm, config in study.arms.items() if arm not in study.again})


def commit_of(study: Study) -> str:
    """The commit that Maquette is at, and that of the study's own file where it is somebody else's."""
    file = Path(inspect.getsourcefile(study.trial) or "").resolve()
    if file.is_relative_to(PACKAGE):
        return commit()
    return f"{commit()}, {file.name} at {commit(file)}"


def artifact_keys(study: Study, scale: Scale) -> dict[str, str]:
    """What each of the study's artifacts is addressed by at a scale."""
    keys: dict[str, str] = {}
    for name, artifact in study.artifacts.items():
        config = study.artifact_config(name, scale.changes)
        keys[name] = artifact_key(artifact, config, {need: keys[need] for need in artifact.needs})
    return keys


def prediction_key(study: Study, basis: Mapping[str, str]) -> str:
    """The fingerprint of all that a prediction depends on; `basis` are the keys of the trials it is made from."""
    assert study.foretell is not None
    return fingerprint({"basis": basis, "code": source_hash(study.foretell)})


def trial_key(
    study: Study,
    code: str,
    arm: str,
    seed: int,
    config: Mapping[str, Any],
    said: str | None,
    stands_on: Mapping[str, str],
) -> str:
    """The fingerprint of all that a trial's measures depend on; `said` is a prediction's digest."""
    content = {
        "study": study.name,
        "config": config,
        "seed": study.seed_of(arm, seed),
        "code": code,
        "prediction": said,
    }
    return fingerprint(content | ({"artifacts": stands_on} if stands_on else {}))
