"""What a person can do about an error."""

from __future__ import annotations

from ParanasalSSLLib.errors import ParanasalError


def explain(error: Exception) -> str:
    """What a person can do about an error, in one sentence that names no place in the program."""
    if isinstance(error, ParanasalError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this scan. Close other programs and try again."
    if isinstance(error, ImportError):
        return f"A part of the installation is missing ({error}). Install the project again."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})." if error.filename else f"{error.strerror}."
    text = str(error).strip().split("\n")[0]
    return (
        f"An unexpected problem ({type(error).__name__}{': ' if text else ''}{text}). "
        "Run it again with --debug and report what it prints."
    )
