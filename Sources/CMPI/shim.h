// MPI's constants are macros with casts, which Swift cannot import: one function for each that the engine uses.
#pragma once
#include <mpi.h>

static inline MPI_Comm mpiWorld(void) { return MPI_COMM_WORLD; }
static inline MPI_Datatype mpiInt32(void) { return MPI_INT32_T; }
static inline MPI_Datatype mpiByte(void) { return MPI_BYTE; }
static inline MPI_Datatype mpiInt64(void) { return MPI_INT64_T; }
static inline MPI_Datatype mpiDouble(void) { return MPI_DOUBLE; }
static inline MPI_Op mpiSum(void) { return MPI_SUM; }
static inline MPI_Op mpiMax(void) { return MPI_MAX; }
static inline MPI_Op mpiMin(void) { return MPI_MIN; }
static inline MPI_Info mpiNoInfo(void) { return MPI_INFO_NULL; }
static inline void *mpiInPlace(void) { return MPI_IN_PLACE; }
