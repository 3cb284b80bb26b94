"""What Spark says of a query that it refuses, as a sentence for whoever wrote the query."""

from __future__ import annotations

import re


def sentence(error: BaseException) -> str:
    r"""Give what an error of analysis or parsing says, without codes and plans.

    Parameters
    ----------
    error : exception
        Of PySpark.

    Examples
    --------
    >>> sentence(ValueError("[NO_SUCH] There is no x. SQLSTATE: 42703; line 1 pos 7;\n'Project"))
    'There is no x. (line 1, pos 7)'
    """
    first = str(error).strip().split("\n")[0]
    said = re.sub(r"^\[[A-Z0-9_.]+\] ", "", first)
    place = re.search(r"line (\d+),? pos (\d+)", said)
    said = re.sub(r"\s*SQLSTATE: \w{5}.*$", "", said)
    return f"{said} (line {place[1]}, pos {place[2]})" if place else said
