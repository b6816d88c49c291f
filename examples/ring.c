/* Numbers pass around a ring of MPI processes, and a field is summed over all: ring [STEPS] [STATUS] [DOUBLES] */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
    int rank, size;
    MPI_Init(&argc, &argv);
    int steps = argc > 1 ? atoi(argv[1]) : 300, status = argc > 2 ? atoi(argv[2]) : 0;
    int cells = argc > 3 ? atoi(argv[3]) : 40000;
    double *field = calloc(cells, sizeof *field);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    long mine = rank + 1, sum = 0;
    for (int step = 1; step <= steps; step++) {
        long got;
        MPI_Sendrecv(&mine, 1, MPI_LONG, (rank + 1) % size, 0, &got, 1, MPI_LONG, (rank + size - 1) % size, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        mine = (16807 * got + step) % 2147483647;
        for (int cell = 0; cell < cells; cell++)
            field[cell] += mine % (cell + 7);
        MPI_Allreduce(MPI_IN_PLACE, field, cells, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
        for (int cell = 0; cell < cells; cell++)
            field[cell] /= 4 * size;
        MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
        if (rank == 0) {
            printf("%d %ld %.6f\n", step, sum, field[step % cells]);
            fflush(stdout);
        }
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (rank == 0)
        printf("done %d %ld\n", steps, sum);
    free(field);
    MPI_Finalize();
    return status;
}
