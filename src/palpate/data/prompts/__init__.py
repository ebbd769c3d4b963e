"""Replacement of the prompts of a data folder by rewritten or published ones."""

from palpate.data.prompts.import_published import Imported, import_prompts
from palpate.data.prompts.rewrite import rewrite_prompts

__all__ = ["Imported", "import_prompts", "rewrite_prompts"]
