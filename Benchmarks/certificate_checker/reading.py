"""JSON by the letter of the format: integers of 64 bits, texts, known keys, each once."""

import json
import os


class Refused(Exception):
    """Something in the certificate is not true, or is not what the format says."""


class TooLarge(Exception):
    """Evidence that this checker would need too long for."""


# The largest file, and the largest number of digits of an integer that can fit into 64 bits.
MOST_BYTES = 1 << 27
MOST_DIGITS = 20


def need(condition, message):
    if not condition:
        raise Refused(message)


def _integer(text):
    need(len(text) <= MOST_DIGITS, "an integer of more than 64 bits")
    value = int(text)
    need(-(1 << 63) <= value < 1 << 63, "an integer of more than 64 bits")
    return value


def _not_integer(text):
    raise Refused(f"the number {text[:20]}, expected integers")


def _object(pairs):
    members = dict(pairs)
    need(len(members) == len(pairs), "a key that occurs twice in an object")
    return members


def parse(text):
    """The document in `text`. NaN, infinities, fractions and duplicate keys are refused."""
    try:
        return json.loads(
            text, parse_int=_integer, parse_float=_not_integer, parse_constant=_not_integer,
            object_pairs_hook=_object)  # fmt: skip
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"not JSON: {error}") from None
    except RecursionError:
        raise Refused("not a certificate: nested too deeply") from None


def read_json(path):
    need(os.path.isfile(path), f"{path}: no such file")
    need(os.path.getsize(path) <= MOST_BYTES, "expected a certificate of at most 128 MiB")
    with open(path, "rb") as file:
        return parse(file.read())


def members(value, what, required, optional=()):
    """An object with these keys and no others; null counts as absent."""
    need(type(value) is dict, f"{what}: expected an object")
    for key in value:
        need(key in required or key in optional, f"{what}: unknown key '{key}'")
    for key in required:
        need(value.get(key) is not None, f"{what}: key '{key}' is missing")
    return value


def integer(value, what):
    need(type(value) is int, f"{what}: expected an integer")
    return value


def text(value, what):
    need(type(value) is str, f"{what}: expected a text")
    return value


def boolean(value, what):
    need(type(value) is bool, f"{what}: expected true or false")
    return value


def array(value, what, length=None):
    need(type(value) is list, f"{what}: expected an array")
    need(length is None or len(value) == length, f"{what}: {len(value)} entries, expected {length}")
    return value


def optional_array(value, key):
    """The array under `key`, empty where the key is absent or null."""
    return [] if value.get(key) is None else array(value[key], key)


def integers(value, what, length=None):
    for entry in array(value, what, length):
        need(type(entry) is int, f"{what}: expected integers")
    return value


def table(value, what, rows, columns=None):
    """An array of `rows` arrays of `columns` integers."""
    for row in array(value, what, rows):
        integers(row, what, columns)
    return value


def small(rows, what, bits):
    """Refuses a table with a number that is not below 2^bits in magnitude."""
    for row in rows:
        need(all(-(1 << bits) < x < 1 << bits for x in row), f"{what}: a number beyond 2^{bits}")
    return rows
