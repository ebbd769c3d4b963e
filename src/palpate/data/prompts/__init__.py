"""Replacing the prompts of a data folder: written anew, or taken from published files."""

from palpate.data.prompts.import_published import Imported, import_prompts
from palpate.data.prompts.rewrite import rewrite_prompts

__all__ = ["Imported", "import_prompts", "rewrite_prompts"]
