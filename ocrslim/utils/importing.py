"""What to say of a runtime that cannot be imported: it is not there, or it is and is broken."""

from __future__ import annotations

from ocrslim.utils.text import cause_of


def import_fault(error: ImportError, title: str, package: str) -> str:
    """Say why a runtime cannot be imported, and what helps.

    Args:
        error: of its import.
        title: its name, for people.
        package: what is installed and imported.
    """
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return f"{title} is not installed: pip install {package}"
    return start_fault(error, title, package)


def start_fault(error: Exception, title: str, package: str) -> str:
    """Say the same of a runtime that is installed and does not start."""
    return (
        f"{title} is installed and does not start ({cause_of(error)}): try "
        f"pip install --force-reinstall --no-deps {package}"
    )
