"""Whose image it is, by what it is called: what neither a split nor a bootstrap may tear apart."""

import re

# As those who publish frames and volumes number them: sub-03, patient001_frame12, case_00012.
_NUMBERED = re.compile(r"(?:patient|pat|subject|sub|case)[-_ ]?\d+", re.IGNORECASE)


def patient_or_name(name: str) -> str:
    """The patient's part of a name; all of it where it names none.

    >>> patient_or_name("Patient001/frame12.png"), patient_or_name("cju0qkwl35piu.jpg")
    ('patient001', 'cju0qkwl35piu.jpg')
    """
    found = _NUMBERED.search(name)
    return found.group().lower() if found else name
