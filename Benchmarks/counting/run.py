#!/usr/bin/env python3
"""How fast, and in how much memory, `colocate count` reads traces of several GB, beside what the same core reads from memory.

    swift build -c release --product colocate
    venv/bin/python Benchmarks/counting/run.py --colocate .build/release/colocate --folder /tmp/traces --out count.md

The traces are made once with a seed and kept in the folder (4.5 GB): top-1 [166666666, 24] of 32 experts, and top-8 [4000000, 16, 8] of
64, both uint8. In a row of the first the experts are independent; in one of the second they are (a + j b) mod 64 with random a and odd b,
so all different. Every file is read once before it is measured: the figures are of counting, not of the disk. Each run is a process of
its own (`measured.py`): wall and processor time are the operating system's, memory is its peak. That starts from what this program holds
when it starts the other, so numpy and its arrays are in processes of their own too. Only numpy is needed.

The memory's speed is that of numpy's largest byte of 1 GiB, one thread, the best of five: a loop of wide loads and nothing else. The
file's speed is `read` in blocks of 1 MiB, with nothing done to the bytes.
"""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from measured import run  # noqa: E402

# Name, shape, experts, arguments.
TRACES = [
    ("top-1", (166_666_666, 24), 32, []),
    ("top-8", (4_000_000, 16, 8), 64, ["--no-coactivation"]),
    ("top-8, with co-activation", (4_000_000, 16, 8), 64, []),
]


def make(path, shape, experts):
    """Writes the trace in blocks, under another name until it is whole."""
    import numpy

    generator = numpy.random.default_rng(2026)
    part = path.with_suffix(".part")
    array = numpy.lib.format.open_memmap(part, mode="w+", dtype=numpy.uint8, shape=shape)
    step = 1 << 20
    for start in range(0, shape[0], step):
        rows = min(step, shape[0] - start)
        if len(shape) == 2:
            array[start : start + rows] = generator.integers(0, experts, (rows, shape[1]), dtype=numpy.uint8)
        else:
            first = generator.integers(0, experts, (rows, shape[1], 1), dtype=numpy.uint8)
            step_to_next = generator.integers(0, experts // 2, (rows, shape[1], 1), dtype=numpy.uint8) * 2 + 1
            array[start : start + rows] = (first + step_to_next * numpy.arange(shape[2], dtype=numpy.uint8)) % experts
    array.flush()
    del array
    part.rename(path)


def memory_speed():
    """GB/s that one core reads from memory, one address after the other, and numpy's version."""
    import numpy

    data = numpy.ones(1 << 30, dtype=numpy.uint8)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        data.max()
        times.append(time.perf_counter() - start)
    return data.nbytes / min(times) / 1e9, numpy.__version__


def apart(*arguments):
    """What this program prints when it is started with these arguments."""
    code, text, message, *_ = run([sys.executable, __file__, *map(str, arguments)])
    if code != 0:
        sys.exit(message)
    return text.split()


def file_speed(path):
    """GB/s of reading alone; the second of two times, when the file is in memory."""
    block = bytearray(1 << 20)
    for _ in range(2):
        start = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            size = 0
            while count := file.readinto(block):
                size += count
        seconds = time.perf_counter() - start
    return size / seconds / 1e9


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"


def measure(colocate, path, options, repeats):
    """Wall and processor seconds, the medians, and the largest peak memory in MB."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            code, _, message, wall, cpu, memory = run([colocate, "count", str(path), "-q", "-o", f"{folder}/c.safetensors", *options])
            if code != 0:
                sys.exit(f"{path}: exit code {code}: {message}")
            runs.append((wall, cpu, memory))
    wall, cpu, memory = zip(*runs)
    return statistics.median(wall), statistics.median(cpu), max(memory)


def main():
    if sys.argv[1:2] == ["memory"]:
        return print(*memory_speed())
    if sys.argv[1:2] == ["make"]:
        number = int(sys.argv[3])
        return make(pathlib.Path(sys.argv[2]), *TRACES[number][1:3])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--colocate", required=True)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (name, shape, *_) in enumerate(TRACES):
        path = arguments.folder / f"{name.split(',')[0]}-{'x'.join(map(str, shape))}.npy"
        if not path.exists():
            apart("make", path, number)
        paths.append(path)
    speed, numpy_version = apart("memory")
    _, version, *_ = run([arguments.colocate, "--version"])
    lines = [
        f"`colocate count` ({version.strip()}) on an {processor()}, {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC, "
        f"numpy {numpy_version}. One core reads {float(speed):.1f} GB/s from memory, address after address. Medians of {arguments.repeats} "
        "runs; memory is the largest peak.",
        "",
        "| trace | GB | wall | processor | peak memory | read alone | counted | transitions/s per core | pairs/s per core |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for (name, shape, _, options), path in zip(TRACES, paths):
        alone = file_speed(path)
        wall, cpu, memory = measure(arguments.colocate, path, options, arguments.repeats)
        choices = shape[2] if len(shape) == 3 else 1
        steps = shape[0] * (shape[1] - 1)
        pairs = steps * choices * choices
        if choices > 1 and not options:
            pairs += shape[0] * shape[1] * choices * (choices - 1) // 2
        size = path.stat().st_size
        lines.append(
            f"| {name} {list(shape)} | {size / 1e9:.2f} | {wall:.1f} s | {cpu:.1f} s | {memory:.0f} MB | {alone:.1f} GB/s | "
            f"{size / wall / 1e9:.2f} GB/s | {steps / cpu / 1e6:.1f} million | {pairs / cpu / 1e6:.0f} million |"
        )
        print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
