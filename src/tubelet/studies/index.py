"""All studies by name."""

from collections.abc import Mapping

from tubelet.studies.own import PRETRAIN_AND_COFINETUNE
from tubelet.studies.paper_a import STUDIES_A
from tubelet.studies.paper_b import STUDIES_B
from tubelet.studies.plan import Study
from tubelet.types import InputError, did_you_mean

STUDIES: Mapping[str, Study] = {study.name: study for study in (*STUDIES_A, *STUDIES_B, PRETRAIN_AND_COFINETUNE)}


def find_study(name: str) -> Study:
    """Return a study by its name.

    Raises:
        InputError: There is none; the nearest name is offered.
    """
    if name not in STUDIES:
        raise InputError(f"no study {name!r}{did_you_mean(name, STUDIES)}; tubelet study list has them")
    return STUDIES[name]
