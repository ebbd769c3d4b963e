"""Prompts from masks, images and metadata, composed by templates."""

from palpate.data.wording.colours import describe_colour
from palpate.data.wording.facts import fact_words, facts_in_name, in_words
from palpate.data.wording.masks import PUBLISHED, SIZES, TRUE, Attributes, Rule, describe_mask
from palpate.data.wording.shapes import OUTLINES, SHAPES
from palpate.data.wording.templates import FIELDS, Template, parse_template
from palpate.data.wording.wordings import (
    Wording,
    general_facts,
    known_sets,
    read_wording,
    wording_of,
)
from palpate.data.wording.writing import compose, write_prompts

__all__ = [
    "FIELDS",
    "OUTLINES",
    "PUBLISHED",
    "SHAPES",
    "SIZES",
    "TRUE",
    "Attributes",
    "Rule",
    "Template",
    "Wording",
    "compose",
    "describe_colour",
    "describe_mask",
    "fact_words",
    "facts_in_name",
    "general_facts",
    "in_words",
    "known_sets",
    "parse_template",
    "read_wording",
    "wording_of",
    "write_prompts",
]
