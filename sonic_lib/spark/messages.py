"""Text that may be shown: without passwords, and without characters that control a terminal.

Messages contain URIs of users, and names of files, columns and songs, which are untrusted.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

_MASK = "***"
_URI = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(//?)(?=[^\s/])")
_SPACE = re.compile(r"\s")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:@]*):\d*[.,;:!?)\]}>'\"`]*|\[[^\]]*\]")
_REST_OF_PASSWORD = re.compile(r"[^\n'\"`@]*(?=@)")
# Here the part before @ is a container, or @ belongs to the name of an object.
_WITH_CONTAINER = ("abfs", "abfss", "wasb", "wasbs", "gs")
_WITHOUT_HOST = ("file", "dbfs")
# The digits after a colon may begin a password: buckets have no port, and web addresses with an @
# after their port are rare.
_RARELY_PORT = ("s3", "s3a", "s3n", "http", "https")
_IN_QUERY = re.compile(
    r"(?i)(?<=[?&;])((?:[\w.-]*(?:password|passwd|token|secret|signature)[\w.-]*|sig)=)[^&\s]+"
)
_MIN_LITERAL = 4  # shorter ones would be found in other words

# Control characters move the cursor, ring the bell or reverse text.
_UNSEEN = (
    *(code for code in range(0xA0) if code < 0x20 or code >= 0x7F),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
)
_LINE_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _UNSEEN}
_ESCAPES = {code: text for code, text in _LINE_ESCAPES.items() if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    r"""Escape control characters except line ends and tabs.

    Examples
    --------
    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    # Names of files may contain bytes that are not text, which Python keeps as lone surrogates.
    return text.translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def one_line(value: object) -> str:
    r"""Escape all control characters of a value, so that it cannot end the line it is in.

    Examples
    --------
    >>> one_line("a.mp3\nsonic: 10 songs added")
    'a.mp3\\nsonic: 10 songs added'
    """
    return str(value).translate(_LINE_ESCAPES)


def without_secrets(text: str) -> str:
    """Mask users and passwords in the URIs of a text, and secrets in their queries.

    Examples
    --------
    >>> without_secrets("https://me:sesame@host/x?n=1&token=abc failed")
    'https://***@host/x?n=1&token=*** failed'
    """
    for secret in _tracking_secrets():
        text = text.replace(secret, _MASK)
    return _masked(text)


def has_secrets(text: str) -> bool:
    """Whether a text contains a URI with a user and a password, or with a secret in its query."""
    return _masked(text) != text


def _masked(text: str) -> str:
    parts, end = [], 0
    for uri in _URI.finditer(text):
        if uri.start() < end:
            continue
        line_end = text.find("\n", uri.end())
        line = text[uri.end() : line_end if line_end >= 0 else None]
        if length := _user_length(line, uri[1].lower(), has_one_slash=uri[2] == "/"):
            parts += [text[end : uri.end()], _MASK]
            end = uri.end() + length
    return _IN_QUERY.sub(rf"\g<1>{_MASK}", "".join([*parts, text[end:]]))


def _user_length(line: str, scheme: str, *, has_one_slash: bool = False) -> int:
    """Return how many characters before an @ are a user and a password.

    Parameters
    ----------
    line : str
        What follows the slashes of a URI.
    has_one_slash : bool
        Whether it is mistyped, as in ``s3a:/user:password@bucket``.
    """
    word = _SPACE.split(line, maxsplit=1)[0]
    # A password may contain slashes: then the @ is not in the authority.
    authority = word.partition("/")[0]
    before, at, _ = authority.partition("@")
    may_be_port = bool(_PORT.fullmatch(authority))
    if scheme in _WITH_CONTAINER or has_one_slash:
        has_user = ":" in before and scheme not in _WITHOUT_HOST
    else:
        has_user = ":" in before and (not may_be_port or scheme in _RARELY_PORT)
        has_user = has_user or bool(at)
    if not has_user:
        return 0
    length = word.rfind("@")
    if length < 0:  # the password contains spaces, or there is none
        found = None if may_be_port else _REST_OF_PASSWORD.match(line)
        return found.end() if found else 0
    if scheme in _WITH_CONTAINER:
        return length
    # The user may be an e-mail address: then this was its @, and not the one before the host.
    rest = _user_length(line[length + 1 :], scheme)
    return length + 1 + rest if rest else length


def _tracking_secrets() -> list[str]:
    """Return the user info of MLflow's address, and its password, which MLflow may show alone."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    user_info = address.partition("://")[2].rpartition("@")[0]
    parts = [user_info, user_info.partition(":")[2]]
    found = {form for part in parts for form in (part, unquote(part)) if len(form) >= _MIN_LITERAL}
    return sorted(found, key=len, reverse=True)
