// Damages one message between two ranks on its way, for tests of `verify`: a library that is loaded
// before MPI's (LD_PRELOAD) and stands between the program and MPI_Alltoallv, MPI_Allgatherv and
// MPI_Alltoall. What it does is in FAULT, five words:
//
//     kind collective call rank word
//
// The damage is done to what comes out of the `call`-th call of the collective (counted from 0, -1
// for every call) on one rank (-1 for every rank). `word` is the first damaged word of the first
// message of that call that is long enough. A row's length is in FAULT_ROW (for bfloat16: a
// coherent row's; a home row is a word shorter), the numbers of a hidden state in FAULT_WIDTH.
// Where the damage is done, it says so on standard error: a test can tell a fault that was
// overlooked from one that never took place.
//
//     zero        every word of the message is 0
//     flip        the lowest bit of one word
//     high        the highest bit of one word
//     nan         one word is not a number
//     duplicate   the second row of the message is the first one again
//     droprow     one row of the message is what was in the buffer before
//     drop        the message is what was in the buffer before
//     swap        two ranks' messages change places, as far as the shorter one goes
//     misroute    what one rank sends to two others goes to the wrong one of them, as far as the
//                 shorter message goes
//     bfloat16    the numbers of all hidden states of the message keep 8 bits
//     less, more  (MPI_Alltoall) one row less, or more, is announced than comes
#define _GNU_SOURCE
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
  char kind[16], collective[16];
  int call, rank, word, row, width, isRead;
  // The call under way, and whether a context has been gathered: coherent runs follow the home run.
  int number, isCoherent;
} fault;

static void readFault(void) {
  if (fault.isRead) return;
  fault.isRead = 1;
  const char *text = getenv("FAULT");
  if (!text || sscanf(text, "%15s %15s %d %d %d", fault.kind, fault.collective, &fault.call,
                      &fault.rank, &fault.word) != 5) {
    fprintf(stderr, "FAULT: expected kind, collective, call, rank and word\n");
    exit(99);
  }
  fault.row = getenv("FAULT_ROW") ? atoi(getenv("FAULT_ROW")) : 1;
  fault.width = getenv("FAULT_WIDTH") ? atoi(getenv("FAULT_WIDTH")) : 1;
}

// Whether this call on this rank is to be damaged.
static int isDue(const char *collective, int *call) {
  readFault();
  if (strcmp(fault.collective, collective)) return 0;
  int rank, number = fault.number = (*call)++;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return (fault.call < 0 || fault.call == number) && (fault.rank < 0 || fault.rank == rank);
}

static int is(const char *kind) { return !strcmp(fault.kind, kind); }

static void tell(int changed) {
  if (changed) fprintf(stderr, "fault: done\n");
}

// The numbers of the rows' hidden states, rounded to the nearest bfloat16, ties to even.
static void roundRows(uint32_t *words, int count) {
  // Dispatch and combine take turns; partial sums are rows of `width` words alone.
  int row = fault.number % 2 ? fault.width : fault.isCoherent ? fault.row : fault.row - 1;
  for (int i = 0; i < count; i++)
    if (i % row < fault.width) words[i] = (words[i] + 0x7FFF + (words[i] >> 16 & 1)) & 0xFFFF0000;
}

// Damages one message; `before` is what was in its place. Returns whether it could be done.
static int damage(uint32_t *words, const uint32_t *before, int count) {
  int row = fault.row;
  if (is("zero")) {
    memset(words, 0, 4 * (size_t)count);
  } else if (is("flip") && fault.word < count) {
    words[fault.word] ^= 1;
  } else if (is("high") && fault.word < count) {
    words[fault.word] ^= 0x80000000;
  } else if (is("nan") && fault.word < count) {
    words[fault.word] = 0x7FC00000;
  } else if (is("duplicate") && count >= 2 * row) {
    memcpy(words + row, words, 4 * (size_t)row);
  } else if (is("droprow") && count >= row) {
    memcpy(words, before, 4 * (size_t)row);
  } else if (is("drop")) {
    memcpy(words, before, 4 * (size_t)count);
  } else if (is("bfloat16")) {
    roundRows(words, count);
  } else {
    return 0;
  }
  return 1;
}

// Exchanges the words of two places.
static void exchange(uint32_t *one, uint32_t *other, int count) {
  for (int i = 0; i < count; i++) {
    uint32_t word = one[i];
    one[i] = other[i];
    other[i] = word;
  }
}

// Exchanges the first two messages to or from other ranks. Returns whether there are two, and not
// alike: a token goes to the ranks of all its experts with the same words.
static int exchangeMessages(uint32_t *words, const int *counts, const int *offsets) {
  int rank, size, first = -1;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int r = 0; r < size; r++) {
    if (r == rank || counts[r] == 0) continue;
    if (first >= 0) {
      int count = counts[r] < counts[first] ? counts[r] : counts[first];
      if (!memcmp(words + offsets[r], words + offsets[first], 4 * (size_t)count)) return 0;
      exchange(words + offsets[r], words + offsets[first], count);
      return 1;
    }
    first = r;
  }
  return 0;
}

// All messages of a call, `counts[r]` words from rank r: damages the first that can be.
static void damageFirst(uint32_t *words, const uint32_t *before, const int *counts,
                        const int *offsets) {
  int rank, size;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  if (is("swap")) {
    tell(exchangeMessages(words, counts, offsets));
    return;
  }
  for (int r = 0; r < size; r++) {
    if (r == rank || counts[r] == 0) continue;
    if (!damage(words + offsets[r], before + offsets[r], counts[r])) continue;
    tell(1);
    // Rounding is for all messages.
    if (!is("bfloat16")) return;
  }
}

static uint32_t *copyOf(const void *words, const int *counts, const int *offsets) {
  int size, end = 0;
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int r = 0; r < size; r++)
    if (offsets[r] + counts[r] > end) end = offsets[r] + counts[r];
  uint32_t *copy = malloc(4 * (size_t)end + 4);
  memcpy(copy, words, 4 * (size_t)end);
  return copy;
}

int MPI_Alltoallv(const void *send, const int *sendCounts, const int *sendOffsets,
                  MPI_Datatype sendType, void *receive, const int *counts, const int *offsets,
                  MPI_Datatype type, MPI_Comm comm) {
  static int call;
  int due = isDue("alltoallv", &call);
  uint32_t *before = due ? copyOf(receive, counts, offsets) : NULL;
  uint32_t *routed = due && is("misroute") ? copyOf(send, sendCounts, sendOffsets) : NULL;
  if (routed) {
    tell(exchangeMessages(routed, sendCounts, sendOffsets));
    send = routed;
  }
  int code = PMPI_Alltoallv(send, sendCounts, sendOffsets, sendType, receive, counts, offsets, type,
                            comm);
  if (due && !routed) damageFirst(receive, before, counts, offsets);
  free(before);
  free(routed);
  return code;
}

int MPI_Allgatherv(const void *send, int sendCount, MPI_Datatype sendType, void *receive,
                   const int *counts, const int *offsets, MPI_Datatype type, MPI_Comm comm) {
  static int call;
  fault.isCoherent = 1;
  int due = isDue("allgatherv", &call);
  uint32_t *before = due ? copyOf(receive, counts, offsets) : NULL;
  int code = PMPI_Allgatherv(send, sendCount, sendType, receive, counts, offsets, type, comm);
  if (due) damageFirst(receive, before, counts, offsets);
  free(before);
  return code;
}

int MPI_Alltoall(const void *send, int sendCount, MPI_Datatype sendType, void *receive, int count,
                 MPI_Datatype type, MPI_Comm comm) {
  static int call;
  int code = PMPI_Alltoall(send, sendCount, sendType, receive, count, type, comm);
  // The exchange of counts is one 32-bit word for each rank.
  if (type != MPI_INT32_T || !isDue("alltoall", &call)) return code;
  int rank, size;
  PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
  PMPI_Comm_size(MPI_COMM_WORLD, &size);
  for (int r = 0; r < size; r++) {
    if (r == rank || ((int *)receive)[r] == 0) continue;
    ((int *)receive)[r] += is("more") ? 1 : -1;
    tell(1);
    break;
  }
  return code;
}
