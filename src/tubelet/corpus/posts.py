"""Tables of posts as people have them: parquet, csv or jsonl, one file or a folder, on this machine or at an address.

Only the columns that are named are read. A local parquet file is scanned where it lies; everything else is brought into
parquet in a scratch folder first, row by row, and a row that cannot be read is counted under its reason.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tubelet.corpus.columns import PostColumns, check_names
from tubelet.corpus.post_batches import PostFile
from tubelet.corpus.post_rows import REASONS, Malformed, csv_rows, json_rows, typed
from tubelet.corpus.rules import RuleCount
from tubelet.types import InputError
from tubelet.video.media import SCHEMES

FORMATS = (".parquet", ".csv", ".jsonl", ".csv.gz", ".jsonl.gz")
STAGED_ROWS = 50_000
STAGED = pa.schema(
    [("video", pa.string()), ("tags", pa.list_(pa.string())), ("text", pa.string()), ("duration_seconds", pa.float64())]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Posts:
    """Posts that can be read."""

    files: tuple[PostFile, ...]
    """Parquet on this machine, one after another."""
    rules: tuple[RuleCount, ...]
    """Of rows that could not be read."""
    sources: tuple[tuple[str, int], ...]
    """Name and bytes of each file that was named."""

    @property
    def num_posts(self) -> int:
        """Rows of all files."""
        return sum(file.num_rows for file in self.files)

    def has(self, kind: str) -> bool:
        """Say whether any file has ``tags``, ``text`` or ``duration_seconds``."""
        return any(kind in file.there for file in self.files)


def open_posts(posts: str | Path, columns: PostColumns, scratch: Path, *, stop_at_malformed: bool = False) -> Posts:
    """Find the files of posts, check their columns, and make them readable.

    Args:
        posts: File or folder, or an address of ``SCHEMES``; a folder's files are taken in the order of their names.
        columns: What the columns are called.
        scratch: Folder for copies of what cannot be scanned where it lies.
        stop_at_malformed: A row that cannot be read is an error instead of a count.

    Raises:
        InputError: No file of ``FORMATS``, one that cannot be read, or a column is missing or of another type.
    """
    names = _list_files(str(posts))
    malformed = Malformed(stop=stop_at_malformed)
    files: list[PostFile] = []
    total = 0
    for number, name in enumerate(names):
        if not name.endswith(".parquet") or "://" in name:
            path, named = scratch / f"staged-{number}.parquet", PostColumns()
            there = _stage(name, columns, path, malformed)
        else:
            path, named = Path(name), columns
            there = _check_parquet(path, _parquet_schema(path, path), columns)
        metadata = pq.read_metadata(path)
        groups = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        files.append(
            PostFile(name=name, path=path, columns=named, there=frozenset(there), first_row=total, row_groups=groups)
        )
        total += metadata.num_rows
    rules, before = [], total + sum(malformed.counts.values())
    for reason in () if all(name.endswith(".parquet") for name in names) else REASONS:
        after = before - malformed.counts[reason]
        first = malformed.first.get(reason, "")
        rules.append(RuleCount(rule=reason, unit="posts", before=before, after=after, first_dropped=first))
        before = after
    sources = tuple((name.rsplit("/", 1)[-1], _num_bytes(name)) for name in names)
    return Posts(files=tuple(files), rules=tuple(rules), sources=sources)


def posts_version(posts: str | Path) -> list[tuple[str, int, int]]:
    """Return name, bytes and time of change (0 at an address) of each file of posts: equal where nothing changed."""
    names = _list_files(str(posts))
    return [(n, _num_bytes(n), 0 if "://" in n else Path(n).stat().st_mtime_ns) for n in names]


def _list_files(posts: str) -> list[str]:
    """Return the files of posts in the order of their names."""
    if "://" in posts:
        if not posts.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            raise InputError(f"{posts}: expected a path or an address of {', '.join(SCHEMES)}")
        system, path = _filesystem(posts)
        scheme = posts.split("://", 1)[0]
        try:
            found = system.find(path) if system.isdir(path) else [path] if system.exists(path) else []
        except Exception as error:  # what a store raises is its own affair
            raise InputError(f"{posts}: cannot be reached ({error})") from error
        found = [str(system.unstrip_protocol(name)) if scheme != "https" else str(name) for name in found]
    else:
        folder = Path(posts)
        found = [str(p) for p in folder.iterdir() if p.is_file()] if folder.is_dir() else [posts]
        if not folder.exists():
            raise InputError(f"{posts}: no such file or folder of posts")
    kept = sorted(name for name in found if name.endswith(FORMATS))
    if not kept:
        raise InputError(f"{posts}: not posts; expected a file or a folder of files that end in {', '.join(FORMATS)}")
    return kept


def _filesystem(address: str) -> tuple[Any, str]:
    import fsspec.core  # only who reads from an address needs it

    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(f"{address}: cannot be reached ({error})") from error
    return system, str(path)


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if "://" in file:
        system, path = _filesystem(file)
        with system.open(path, "rb") as stream:
            yield stream
    else:
        with Path(file).open("rb") as stream:
            yield stream


def _num_bytes(file: str) -> int:
    if "://" not in file:
        return Path(file).stat().st_size
    system, path = _filesystem(file)
    return int(system.size(path) or 0)


def _parquet_schema(name: str | Path, source: Any) -> pa.Schema:
    try:
        return pq.read_schema(source)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{name}: not a parquet file of posts ({str(error).splitlines()[0]})") from error


def _check_parquet(file: str | Path, schema: pa.Schema, columns: PostColumns) -> set[str]:
    """Return which of tags, text and duration_seconds are there; every named column must be, and of its type."""
    there = check_names(file, schema.names, columns)
    wanted = [(columns.video, "string")]
    if "tags" in there:
        wanted.append((columns.tags or "tags", "string" if columns.tag_separator else "list<string>"))
    if "text" in there:
        wanted += [(name, "string") for name in columns.text or ("text",)]
    if "duration_seconds" in there:
        wanted.append((columns.duration_seconds or "duration_seconds", "double"))
    for name, kind in wanted:
        found = schema.field(name).type
        if not _fits(found, kind):
            hint = " or a tag separator" if kind == "list<string>" and _fits(found, "string") else ""
            raise InputError(f"{file}: column {name!r} holds {found}, expected {kind}{hint}")
    return there


def _fits(kind: pa.DataType, wanted: str) -> bool:
    if pa.types.is_null(kind):
        return True  # a column without a value
    if wanted == "double":
        return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))
    if wanted == "string":
        if pa.types.is_dictionary(kind):
            return _fits(kind.value_type, "string")
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return bool(is_list and _fits(kind.value_type, "string"))


def _stage(file: str, columns: PostColumns, path: Path, malformed: Malformed) -> set[str]:
    """Copy the named columns of a file into parquet; return which of tags, text and duration_seconds it has."""
    with _opened(file) as stream:
        if file.endswith(".parquet"):
            return _stage_parquet(file, stream, columns, path)
        plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if file.endswith(".gz") else stream
        try:
            if ".csv" in file[-8:]:
                return _write_rows(csv_rows(file, plain, columns, malformed), path)
            return _write_rows(json_rows(file, plain, columns, malformed), path)
        except (OSError, EOFError) as error:
            raise InputError(f"{file}: cannot be read ({error})") from error


def _stage_parquet(file: str, stream: BinaryIO, columns: PostColumns, path: Path) -> set[str]:
    opened = pq.ParquetFile(stream) if _parquet_schema(file, stream) else None
    assert opened is not None
    there = _check_parquet(file, opened.schema_arrow, columns)
    writer = pq.ParquetWriter(path, STAGED)
    names = [columns.video, columns.tags or "tags", *(columns.text or ("text",))]
    names.append(columns.duration_seconds or "duration_seconds")
    with writer:
        for batch in opened.iter_batches(
            STAGED_ROWS, columns=[name for name in names if name in opened.schema_arrow.names]
        ):
            rows = [typed(row, columns) for row in batch.to_pylist()]
            writer.write_table(pa.Table.from_pylist(rows, schema=STAGED))
    return there


def _write_rows(rows: Iterator[dict[str, Any]], path: Path) -> set[str]:
    """Write rows as they come; return which columns hold anything."""
    there: set[str] = set()
    with pq.ParquetWriter(path, STAGED) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            there.update(row)
            batch.append(row)
            if len(batch) == STAGED_ROWS:
                writer.write_table(pa.Table.from_pylist(batch, schema=STAGED))
                batch.clear()
        writer.write_table(pa.Table.from_pylist(batch, schema=STAGED))
    return there - {"video"}
