/* Counts without a shared library, and ends with 7: static [STEPS] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 300;
    unsigned x = 1;
    for (int step = 1; step <= steps; step++) {
        x = 16807u * x + step;
        printf("%d %u\n", step, x);
        fflush(stdout);
        usleep(100000);
    }
    return 7;
}
