"""What a study prints and writes."""

import sys
from pathlib import Path

from lamps_jax.report.document import Document


def tell(document: Document, out: Path | None, *, json_output: bool) -> None:
    """Prints the tables, or the document itself; with a directory writes tables and figures there too."""
    from rich.console import Console

    from lamps_jax.report.table import renderable
    from lamps_jax.report.write import write_report

    if out is not None:
        for path in write_report(document, out):
            sys.stderr.write(f"wrote {path}\n")
    if json_output:
        sys.stdout.write(document.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
    else:
        Console(file=sys.stdout).print(renderable(document))
