"""Turn Spark's errors about a query into sentences for the author of the query."""

from __future__ import annotations

import re


def sentence(error: BaseException) -> str:
    r"""Return the message of an analysis or parse error, without codes and plans.

    Parameters
    ----------
    error : exception
        From PySpark.

    Examples
    --------
    >>> sentence(ValueError("[NO_SUCH] There is no x. SQLSTATE: 42703; line 1 pos 7;\n'Project"))
    'There is no x. (line 1, pos 7)'
    """
    first = str(error).strip().split("\n")[0]
    text = re.sub(r"^\[[A-Z0-9_.]+\] ", "", first)
    place = re.search(r"line (\d+),? pos (\d+)", text)
    text = re.sub(r"\s*SQLSTATE: \w{5}.*$", "", text)
    return f"{text} (line {place[1]}, pos {place[2]})" if place else text
