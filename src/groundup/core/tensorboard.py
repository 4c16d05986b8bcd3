"""TensorBoard's event files: bytes to append, made from numbers.

TensorBoard reads a file of records, each a protocol buffer with a checksum. We take the messages and the checksum from
tensorboardX and write the records ourselves: its writer hands them to a thread that a kill silences, and puts the
host's name into the file's. Source: the TensorFlow guide, "TFRecord and tf.train.Example", section "TFRecords format".
"""

from __future__ import annotations

import struct
import time
from typing import Any


def opening_records(first_step: int) -> bytes:
    """The head of a new file; it tells TensorBoard to forget what older files say from `first_step` on."""
    start = {"status": "START"}
    return _record(file_version="brain.Event:2") + _record(step=first_step, session_log=start)


def scalars_record(step: int, scalars: dict[str, float]) -> bytes:
    """One record that holds all `scalars` of a step."""
    values = [{"tag": tag, "simple_value": number} for tag, number in scalars.items()]
    return _record(step=step, summary={"value": values})


def _record(**event: Any) -> bytes:
    """One event in its frame: length, checksum of the length, the event, its checksum."""
    from tensorboardX.proto import event_pb2
    from tensorboardX.record_writer import masked_crc32c

    message: Any = event_pb2  # protocol buffers make their classes at run time, out of the type checker's sight
    data = message.Event(wall_time=time.time(), **event).SerializeToString()
    length = struct.pack("<Q", len(data))
    checksum = struct.Struct("<I").pack
    return length + checksum(masked_crc32c(length)) + data + checksum(masked_crc32c(data))
