/* A hash table whose chains grow, so that memory grows: grow [STEPS] */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CHAINS 4096

struct item {
    struct item *next;
    uint32_t key;
};

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 300;
    static struct item *chain[CHAINS];
    uint32_t x = 1, sum = 0;

    for (int step = 1; step <= steps; step++) {
        for (int i = 0; i < 5000; i++) {
            struct item *item = malloc(sizeof *item);
            if (!item)
                return 1;
            x = 1664525u * x + 1013904223u;
            item->key = x;
            item->next = chain[(x >> 16) % CHAINS];
            chain[(x >> 16) % CHAINS] = item;
        }
        for (int i = 0; i < CHAINS; i++)
            for (struct item *item = chain[i]; item; item = item->next)
                sum = 31 * sum + item->key;
        printf("%d %u %u\n", step, x, sum);
        usleep(95000);
    }
    printf("done %d %u %u\n", steps, x, sum);
    return 0;
}
