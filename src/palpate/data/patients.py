"""Patient identifiers in file names, so that splits and bootstraps keep patients together."""

import re

# Common names of published frames and volumes: sub-03, patient001_frame12, case_00012.
_NUMBERED = re.compile(r"(?:patient|pat|subject|sub|case)[-_ ]?\d+", re.IGNORECASE)


def patient_or_name(name: str) -> str:
    """Part of a file name that identifies the patient, in lower case; else the whole name.

    >>> patient_or_name("Patient001/frame12.png"), patient_or_name("cju0qkwl35piu.jpg")
    ('patient001', 'cju0qkwl35piu.jpg')
    """
    found = _NUMBERED.search(name)
    return found.group().lower() if found else name
