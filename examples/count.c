/* Counts, with a running checksum: count [STEPS] [STATUS] [SIGNAL]
   Ends with STATUS, or kills itself with SIGNAL. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 300;
    int status = argc > 2 ? atoi(argv[2]) : 0;
    int signal_number = argc > 3 ? atoi(argv[3]) : 0;
    uint32_t x = 1;

    for (int step = 1; step <= steps; step++) {
        for (int i = 0; i < 1000000; i++)
            x = 1664525u * x + 1013904223u;
        printf("%d %u\n", step, x);
        usleep(95000);
    }
    printf("done %d %u\n", steps, x);
    if (signal_number) {
        fflush(stdout);
        raise(signal_number);
    }
    return status;
}
