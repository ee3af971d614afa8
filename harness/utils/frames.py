"""Messages between processes as frames of bytes: a length, then so many bytes. What they mean is for others to say."""

from __future__ import annotations

import select
import socket
import struct
from collections import deque

_LENGTH = struct.Struct(">Q")


class FrameTooLong(ValueError):
    """The other side announces more bytes than a message may have."""


def frame(data: bytes | bytearray | memoryview) -> bytes:
    """The bytes of a message."""
    return _LENGTH.pack(len(data)) + bytes(data)


def send_frame(connection: socket.socket, *parts: bytes | bytearray | memoryview) -> None:
    """Send one message made of parts, which are not copied.

    Raises:
        OSError: nobody takes it.
    """
    connection.sendall(_LENGTH.pack(sum(len(part) for part in parts)))
    for part in parts:
        connection.sendall(part)


def receive_frame(connection: socket.socket, limit: int) -> bytearray:
    """Wait for a whole message; not a byte more is taken from the connection.

    Raises:
        EOFError: the other side has ended.
        FrameTooLong: it announces more than `limit` bytes.
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > limit:
        raise FrameTooLong(f"a message of {length:,} bytes; {limit:,} are allowed")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytearray:
    data = bytearray(count)
    view, got = memoryview(data), 0
    while got < count:
        received = connection.recv_into(view[got:])
        if not received:
            raise EOFError("the other process has ended")
        got += received
    return data


class FrameReader:
    """Takes messages from a connection as they come, and never waits for the rest of one.

    Args:
        connection: where they come from.
        limit: bytes of the longest message.
    """

    def __init__(self, connection: socket.socket, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._buffer = bytearray()
        self._whole: deque[bytes] = deque()

    def poll(self, timeout: float) -> bytes | None:
        """The next whole message, or None where there is none after `timeout` seconds.

        Raises:
            EOFError: the other side has ended; what it had not sent whole is lost.
            FrameTooLong: it announces more bytes than allowed.
        """
        if not self._whole and select.select([self._connection], [], [], timeout)[0]:
            self._take()
        return self._whole.popleft() if self._whole else None

    def _take(self) -> None:
        """Whatever lies ready, without waiting."""
        try:
            data = self._connection.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError as error:
            raise EOFError(str(error)) from error
        if not data:
            raise EOFError("the other process has ended")
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > self._limit:
                raise FrameTooLong(f"a message of {length:,} bytes; {self._limit:,} are allowed")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            self._whole.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
