/* Reads lines from stdin, a thousand a step, with a checksum: lines [STEPS] <FILE */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long steps = argc > 1 ? atol(argv[1]) : 300, number = 0;
    uint64_t sum = 14695981039346656037u;
    char line[4096];

    while (number < 1000 * steps && fgets(line, sizeof line, stdin)) {
        for (char *c = line; *c; c++)
            sum = (sum ^ (unsigned char)*c) * 1099511628211u;
        if (++number % 1000 == 0) {
            printf("%ld %016llx\n", number, (unsigned long long)sum);
            usleep(100000);
        }
    }
    printf("done %ld %016llx\n", number, (unsigned long long)sum);
    return 0;
}
