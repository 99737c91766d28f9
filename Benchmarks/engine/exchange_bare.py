"""Replays recorded exchanges with nothing but MPI_Alltoallv. Started by exchange.py under mpirun.

    mpirun -n P python exchange_bare.py COUNTS.npy DISPATCH_WORDS COMBINE_WORDS

COUNTS int32 [steps, layers, P, P]: rows that rank i sends to rank j. Per step and layer one Alltoallv of so many rows of
DISPATCH_WORDS floats, and one back of COMBINE_WORDS floats. Rank 0 prints the seconds of the fastest of several passes.
"""

import sys
import time

import numpy as np
from mpi4py import MPI

world = MPI.COMM_WORLD
counts = np.load(sys.argv[1])
dispatch_words, combine_words = int(sys.argv[2]), int(sys.argv[3])
rank = world.rank
largest = int(max(counts.sum(2).max(), counts.sum(3).max()))
send = np.ones(largest * dispatch_words, np.float32)
receive = np.empty_like(send)


def message(buffer, rows, words):
    sizes = (rows * words).tolist()
    return [buffer, (sizes, [0, *np.cumsum(sizes)[:-1].tolist()]), MPI.FLOAT]


calls = []
for step in counts:
    for layer in step:
        out, back = layer[rank], layer[:, rank]
        calls.append((message(send, out, dispatch_words), message(receive, back, dispatch_words)))
        calls.append((message(send, back, combine_words), message(receive, out, combine_words)))
best = np.inf
for _ in range(7):
    world.Barrier()
    begin = time.perf_counter()
    for one, other in calls:
        world.Alltoallv(one, other)
    world.Barrier()
    best = min(best, time.perf_counter() - begin)
if rank == 0:
    print(best)
