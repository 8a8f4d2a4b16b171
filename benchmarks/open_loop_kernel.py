"""The loop that offers questions at a constant rate, compiled: it calls the C library's own functions."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"

import ctypes
import platform
import time

import numba
import numpy as np

# What is counted.
COUNTS = 7
ASKED, ACCEPTED, SHED, OTHER, UNASKED, BROKEN, LOST = range(COUNTS)
# Room for one answer of a server, headers and all.
ANSWER_BYTES = 8192
CLOSED, UNFINISHED = -1, 0
_EVENTS = 512
# Linux packs an event of epoll on x86: what happened, and then whose it is. In words of 32 bits: how long, and where.
_EVENT, _WHOSE = (3, 1) if platform.machine() in ("x86_64", "AMD64") else (4, 2)
_MONOTONIC = time.CLOCK_MONOTONIC
_NO_SIGNAL, _DO_NOT_WAIT = 0x4000, 0x40

_c = ctypes.CDLL(None)
_send, _recv, _epoll_wait, _clock = _c.send, _c.recv, _c.epoll_wait, _c.clock_gettime
for _transfer in (_send, _recv):
    _transfer.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
    _transfer.restype = ctypes.c_ssize_t
_epoll_wait.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int, ctypes.c_int]
_clock.argtypes = [ctypes.c_int, ctypes.c_size_t]


@numba.njit
def offered(epoll, whose, fds, requests, ends, gap_ns, lasts_ns, grace_ns, took, counts):
    """Ask for so long, and note what comes until then or a little later.

    whose: file descriptor → connection. requests: bytes, one after the other; ends: where each begins, and the last
    one ends. took: ns of each accepted answer, filled in, as counts are.
    """
    spec, events = np.zeros(2, np.int64), np.zeros(_EVENT * _EVENTS, np.int32)
    answers, filled = np.zeros((len(fds), ANSWER_BYTES), np.uint8), np.zeros(len(fds), np.int64)
    due = np.zeros(len(fds), np.int64)  # when the question that a connection waits for was due; 0: for none
    free, first, frees = np.arange(len(fds)), 0, len(fds)  # a ring: all connections are used in turn
    waiting = turn = 0
    began = next_at = _now(spec)
    until = began + lasts_ns
    while next_at < until or (waiting > 0 and _now(spec) < until + grace_ns):
        now = min(_now(spec), until - 1)
        while next_at <= now:
            if frees == 0:
                counts[UNASKED] += 1
            else:
                which = free[first]
                first, frees = (first + 1) % len(fds), frees - 1
                sent = _ask(fds[which], requests, ends[turn], ends[turn + 1])
                turn = (turn + 1) % (len(ends) - 1)
                counts[ASKED if sent else BROKEN] += 1
                if sent:
                    due[which] = next_at
                    waiting += 1
            next_at += gap_ns
        for event in range(_epoll_wait(epoll, events.ctypes.data, _EVENTS, 1)):
            which = whose[events[_EVENT * event + _WHOSE]]
            status = _received(fds[which], answers[which], filled, which)
            if due[which] == 0 or status == UNFINISHED:
                continue
            _count(status, due[which], spec, took, counts)
            due[which] = 0
            waiting -= 1
            if status != CLOSED:
                free[(first + frees) % len(fds)] = which
                frees += 1
    counts[LOST] = waiting


@numba.njit
def _now(spec):
    _clock(_MONOTONIC, spec.ctypes.data)
    return spec[0] * 1_000_000_000 + spec[1]


@numba.njit
def _ask(fd, requests, begin, end):
    return _send(fd, requests.ctypes.data + begin, end - begin, _NO_SIGNAL) == end - begin


@numba.njit
def _received(fd, answer, filled, which):
    """Read what a connection has; return the status of the answer once it is whole, or CLOSED or UNFINISHED."""
    got = _recv(fd, answer.ctypes.data + filled[which], ANSWER_BYTES - filled[which], _DO_NOT_WAIT)
    if got <= 0:
        return CLOSED if got == 0 else UNFINISHED
    filled[which] += got
    length = _length(answer, filled[which])
    if length == 0 or filled[which] < length:
        return UNFINISHED
    filled[which] = 0
    return (answer[9] - 48) * 100 + (answer[10] - 48) * 10 + answer[11] - 48


@numba.njit
def _count(status, due, spec, took, counts):
    if status == 200:
        if counts[ACCEPTED] < len(took):
            took[counts[ACCEPTED]] = _now(spec) - due
        counts[ACCEPTED] += 1
    elif status == CLOSED:
        counts[BROKEN] += 1
    else:
        counts[SHED if status == 429 else OTHER] += 1


@numba.njit
def _length(answer, filled):
    """Return how long an answer is, headers and all; 0 while its headers are not all there."""
    body = 0
    for i in range(filled - 3):
        if answer[i] == 13 and answer[i + 1] == 10:
            if answer[i + 2] == 13 and answer[i + 3] == 10:
                return i + 4 + body
            # Among headers only "content-length: " has an "-l" seven characters after its line's begin, in any case.
            if i + 18 < filled and answer[i + 9] == 45 and (answer[i + 10] | 32) == 108 and answer[i + 16] == 58:
                body = _number(answer, i + 17, filled)
    return 0


@numba.njit
def _number(text, at, end):
    """Return the whole number that stands at a place, blanks before it."""
    number = 0
    while at < end and (text[at] == 32 or 48 <= text[at] <= 57):
        if text[at] != 32:
            number = number * 10 + text[at] - 48
        at += 1
    return number
