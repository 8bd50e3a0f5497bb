"""Owns what the certificate of a disposition says to one project: the same in the project's own record and in its exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of_project(certificate: Mapping[str, Any], project_id: int) -> dict[str, Any]:
    """Without what it says of other projects. events: what the project's parts in the bucket promised; disposed: what of them went;
    waiting: traces that stayed because their clock does not run or is not over; longer: what asked for more days than its class.

    A certificate from before both were counted by project names the bucket's number, which is this project's where it is alone.
    """
    others = ("by_project", "disposed_by_project", "holds", "longer", "waiting")
    went = certificate.get("disposed_by_project", {}).get(str(project_id), certificate["counts"]["disposed"])
    return {key: value for key, value in certificate.items() if key not in others} | {
        "events": certificate["by_project"][str(project_id)],
        "disposed": went,
        "waiting": certificate.get("waiting", {}).get(str(project_id), 0),
        "longer": [each for each in certificate.get("longer", ()) if each["project"] == project_id],
        "holds": [hold for hold in certificate["holds"] if hold["project"] == project_id],
    }
