"""Write docs/tables.md from the schemas: python docs/generate.py."""

from __future__ import annotations

from pathlib import Path

from sonic_lib.schemas import DATABASE, TABLES

_HEAD = """# Tables

All in database `sonic`, each a Delta table in a folder of its own below the warehouse. Made from
`sonic_lib/schemas.py` by `python docs/generate.py`; `DESCRIBE sonic.songs` says the same.

`fingerprints` carries the parameters it was made with (`sonic.fingerprint.params`) and the width
of its prefix (`sonic.fingerprint.prefix_bits`) as table properties; after `sonic maintain
--prefix-bits` the metadata of the column `hash_prefix` say the width. Tables carry the number of
their layout (`sonic.layout`). A fingerprint counts only when its song stands in `songs`, which is
written last.
"""


def tables_markdown() -> str:
    """Render every table with its columns."""
    parts = [_HEAD]
    for table in TABLES:
        partition = ", ".join(f"`{name}`" for name in table.partitioned_by) or "nothing"
        parts.append(f"## {DATABASE}.{table.name}\n")
        parts.append(f"{table.comment} Partitioned by {partition}.\n")
        parts.append("| column | type | meaning |\n| --- | --- | --- |")
        parts += [
            f"| `{f.name}` | {f.dataType.simpleString()} | {f.metadata['comment']} |"
            for f in table.schema
        ]
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("tables.md").write_text(tables_markdown(), encoding="utf-8")
