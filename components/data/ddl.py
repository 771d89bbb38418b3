"""The statements by which other engines read a data set's files as an external table."""

from components.data.catalogue import DataSet
from components.shared.records.reviews import REVIEW_SCHEMA

ENGINES = ("athena", "hive", "spark", "trino")

_BUCKET = "s3://NAME-OF-A-BUCKET/reviews"

_TYPES = {
    "athena": {"string": "STRING", "int32": "INT", "timestamp": "TIMESTAMP"},
    "trino": {"string": "VARCHAR", "int32": "INTEGER", "timestamp": "TIMESTAMP(3)"},
}


def table_ddl(engine: str, data: DataSet, location: str = "") -> str:
    """DDL of the external table `reviews` on a data set, for one of `ENGINES`.

    The files are found at `location`, which has to hold the folders `month=…`; without one, in a
    bucket whose name is left to be filled in, with the command that copies them there.
    """
    there = location.rstrip("/") or f"{_BUCKET}/{data.fingerprint}"
    types = _TYPES["trino" if engine == "trino" else "athena"]
    columns = [
        f"  {field.name} {types[str(field.type).partition('[')[0]]}" for field in REVIEW_SCHEMA
    ]
    lines = [f"-- {data.rows:,} reviews, data fingerprint {data.fingerprint}"]
    if not location:
        lines.append(f"-- first: aws s3 sync '{data.folder}/' '{there}/'")
    if engine == "trino":
        lines += ["CREATE TABLE reviews (", ",\n".join([*columns, "  month VARCHAR"]), ") WITH ("]
        lines += [f"  external_location = '{there}/',", "  format = 'PARQUET',"]
        lines += ["  partitioned_by = ARRAY['month']", ");"]
        find = "CALL system.sync_partition_metadata(current_schema, 'reviews', 'FULL');"
    else:
        lines += ["CREATE EXTERNAL TABLE reviews (", ",\n".join(columns), ")"]
        lines += ["PARTITIONED BY (month STRING)", "STORED AS PARQUET", f"LOCATION '{there}/';"]
        find = "MSCK REPAIR TABLE reviews;"
    return "\n".join([*lines, find])
