"""Parquet rows as raw records, a few at a time and only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from training.datasets.base import RawRecord
from training.datasets.json_records import unreadable
from training.datasets.skip import Skip

BATCH_ROWS = 16


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[RawRecord]:
    """The rows of a parquet file, each a dict of these columns; a column that the file lacks is not in it.

    A row group that cannot be decoded is one problem that stands for its rows; reading goes on at the next one.
    """
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(file)
        total = max(1, table.metadata.num_rows)
        present = [name for name in columns if name in table.schema_arrow.names]
    except Exception as error:  # a damaged footer raises whatever the decoder meets
        yield unreadable(file, 1, error)
        return
    with table:
        size = file.stat().st_size
        number = 0
        for group in range(table.metadata.num_row_groups):
            num_rows = table.metadata.row_group(group).num_rows
            num_read = 0
            try:
                for batch in table.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=present):
                    for row in batch.to_pylist():
                        num_read += 1
                        yield RawRecord(
                            file=str(file), number=number + num_read, data=row, num_bytes=_num_bytes(row),
                            end_bytes=size * (number + num_read) // total,
                        )
            except Exception as error:  # as above
                num_lost = max(1, num_rows - num_read)
                problem = Skip("row group unreadable", "(rows)", f"{num_lost} rows from here on ({error})"[:300])
                yield RawRecord(file=str(file), number=number + num_read + 1, problem=problem, num_records=num_lost)
            number += num_rows


def _num_bytes(row: dict[str, Any]) -> int:
    screenshot = row.get("screenshot")
    data = screenshot.get("bytes") if isinstance(screenshot, dict) else screenshot
    return len(data) if isinstance(data, bytes) else 0
