"""Owns the process in which a PDF is set: data and template from standard input, the PDF to standard output, nothing else.

Run as a script, not as a module: it knows neither Django nor the database, and whatever it is handed it cannot reach them. Texts are
values of a JSON file; the typesetter does not read them as markup. What it may use of the machine has an end.
"""

import json
import os
import resource
import sys
from datetime import UTC, datetime
from typing import Any

MEMORY = 2 * 1024**3  # bytes of address space, of which the fonts that are mapped are a part
SECONDS = 60  # of one CPU
STANDARDS: Any = ["a-2a", "ua-1"]  # for archives and for screen readers; both refuse a text that has no glyph


def main() -> None:
    os.nice(10)  # evidence that arrives comes first
    os.environ["RAYON_NUM_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work: dict[str, Any] = json.load(sys.stdin.buffer)
    import typst  # after the limits

    files: Any = {"main.typ": work["template"].encode(), "data.json": json.dumps(work["data"]).encode()}  # its types know no dict
    try:
        pdf, warnings = typst.compile_with_warnings(
            files,
            root=os.getcwd(),
            package_path=os.getcwd(),
            package_cache_path=os.getcwd(),
            font_paths=typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=work["fonts"]),
            ignore_system_fonts=True,
            pdf_standards=STANDARDS,
            timestamp=datetime.fromtimestamp(work["at"], UTC),
        )
    except typst.TypstError as error:
        sys.exit(f"refused: {error}")
    if warnings:
        sys.exit(f"warned: {warnings[0].message}")
    sys.stdout.buffer.write(pdf)


if __name__ == "__main__":
    main()
