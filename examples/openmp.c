/* Heat along a rod; OpenMP threads share the points: openmp [STEPS] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N 20000

static double old[N], new[N];

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 300;
    double sum = 0.0;

    for (int i = 0; i < N; i++)
        old[i] = i % 7;
    for (int step = 1; step <= steps; step++) {
        for (int repeat = 0; repeat < 50; repeat++) {
            #pragma omp parallel for
            for (int i = 1; i < N - 1; i++)
                new[i] = old[i] + 0.25 * (old[i - 1] - 2.0 * old[i] + old[i + 1]);
            #pragma omp parallel for
            for (int i = 1; i < N - 1; i++)
                old[i] = new[i];
        }
        old[step % N] += 1.0;
        sum = 0.0;
        for (int i = 0; i < N; i++)
            sum += old[i] * old[i];
        printf("%d %.12f\n", step, sum);
        usleep(90000);
    }
    printf("done %d %.12f\n", steps, sum);
    return 0;
}
