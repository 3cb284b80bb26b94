"""Write docs/tables.md from the schemas: python docs/generate.py."""

from __future__ import annotations

from pathlib import Path

from sonic_lib.schemas import DATABASE, TABLES

_HEAD = """# Tables

All tables are in the database `sonic`. Each is a Delta table in its own folder in the warehouse.
This page is generated from `sonic_lib/schemas/` by `python docs/generate.py`;
`DESCRIBE sonic.songs` shows the same.

A fingerprint counts only if its song is in `songs`, which is written last. Every table has its
layout number as the table property `sonic.layout`. `fingerprints` also has the parameters it was
made with (`sonic.fingerprint.params`) and the original width of its prefix
(`sonic.fingerprint.prefix_bits`). After `sonic maintain --prefix-bits`, the width is in the
metadata of the column `hash_prefix`.
"""


def tables_markdown() -> str:
    """Render every table with its columns."""
    parts = [_HEAD]
    for table in TABLES:
        names = ", ".join(f"`{name}`" for name in table.partitioned_by)
        partition = f"Partitioned by {names}." if names else "Not partitioned."
        parts.append(f"## {DATABASE}.{table.name}\n")
        parts.append(f"{table.comment} {partition}\n")
        parts.append("| column | type | meaning |\n| --- | --- | --- |")
        parts += [
            f"| `{f.name}` | {f.dataType.simpleString()} | {f.metadata['comment']} |"
            for f in table.schema
        ]
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("tables.md").write_text(tables_markdown(), encoding="utf-8")
