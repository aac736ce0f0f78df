"""Helpers for every package: files, hashes, progress, interrupts, processes, Paddle and PaddleOCR imported quietly."""

from ocrslim.utils.array_cache import ArrayStore
from ocrslim.utils.child_process import start_python
from ocrslim.utils.distributed import RankLost, Ranks, is_first_rank, join_launch, launched
from ocrslim.utils.fields import Field, shown
from ocrslim.utils.files import (
    atomic_file,
    check_writable,
    is_disk_error,
    locked_folder,
    named,
    open_to_append,
    read_json,
    remove_leftovers,
    same_place,
    scratch_folder,
    write_error,
    write_json,
    write_text,
)
from ocrslim.utils.hashing import hash_arrays, hash_bytes, hash_value
from ocrslim.utils.importing import import_fault, start_fault
from ocrslim.utils.input_files import GIB, MAX_PIXELS, MIB, open_regular, parse_json, read_file
from ocrslim.utils.interrupts import Interrupts, current_interrupts, postponed
from ocrslim.utils.json_lines import JsonLines
from ocrslim.utils.machine import has_instructions, processor
from ocrslim.utils.paddle_setup import import_paddle, use_device
from ocrslim.utils.progress import LOG_SECONDS, messages_above_bars, progress_bar
from ocrslim.utils.text import (
    MAX_TEXT,
    cause_of,
    listed,
    name_fault,
    one_line,
    path_fault,
    printable,
    shortened,
    text_fault,
)
from ocrslim.utils.timing import Clock

__all__ = [
    "GIB",
    "LOG_SECONDS",
    "MAX_PIXELS",
    "MAX_TEXT",
    "MIB",
    "ArrayStore",
    "Clock",
    "Field",
    "Interrupts",
    "JsonLines",
    "RankLost",
    "Ranks",
    "atomic_file",
    "cause_of",
    "check_writable",
    "current_interrupts",
    "has_instructions",
    "hash_arrays",
    "hash_bytes",
    "hash_value",
    "import_fault",
    "import_paddle",
    "is_disk_error",
    "is_first_rank",
    "join_launch",
    "launched",
    "listed",
    "locked_folder",
    "messages_above_bars",
    "name_fault",
    "named",
    "one_line",
    "open_regular",
    "open_to_append",
    "parse_json",
    "path_fault",
    "postponed",
    "printable",
    "processor",
    "progress_bar",
    "read_file",
    "read_json",
    "remove_leftovers",
    "same_place",
    "scratch_folder",
    "shortened",
    "shown",
    "start_fault",
    "start_python",
    "text_fault",
    "use_device",
    "write_error",
    "write_json",
    "write_text",
]
