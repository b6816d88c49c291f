/* state_plugin THREADS: the processor time that the plugin `state` uses in a process at a checkpoint, and at a restart.

   Compiled with the sources of the plugin, and without DMTCP: so other load on the machine changes the result little. */

#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "state.h"

#define MOST 1000

static pthread_barrier_t step;
static double at_checkpoint[MOST], at_restart[MOST];

static double used_ms(void)
{
    struct timespec now = { 0, 0 };
    RAW(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void *be_thread(void *number)
{
    long mine = (long)number;
    pthread_barrier_wait(&step);
    double before = used_ms();
    record_thread();
    at_checkpoint[mine] = used_ms() - before;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    before = used_ms();
    put_back_thread();
    at_restart[mine] = used_ms() - before;
    pthread_barrier_wait(&step);
    return NULL;
}

static double record_all(void)
{
    double before = used_ms();
    record_process();
    record_descriptors();
    record_memory();
    record_children();
    record_locks();
    begin_audit();
    return used_ms() - before;
}

static double compare_all(void)
{
    double before = used_ms();
    check_process();
    check_children();
    check_locks();
    check_memory();
    check_descriptors();
    return used_ms() - before;
}

const char *dmtcp_get_tmpdir(void)
{
    return "./x";
}

int main(int argc, char **argv)
{
    pthread_t thread;
    int count = argc == 2 ? atoi(argv[1]) : 1;
    if (count > MOST)
        return 2;
    pthread_barrier_init(&step, NULL, (unsigned)count + 1);
    for (long i = 0; i < count; i++)
        pthread_create(&thread, NULL, be_thread, (void *)i);
    begin_count();
    forget_threads();
    for (int i = 0; i < 2; i++)
        pthread_barrier_wait(&step);
    double checkpoint_ms = record_all();
    for (int i = 0; i < 2; i++)
        pthread_barrier_wait(&step);
    double restart_ms = compare_all();
    for (int i = 0; i < count; i++) {
        checkpoint_ms += at_checkpoint[i];
        restart_ms += at_restart[i];
    }
    printf("%f %f\n", checkpoint_ms, restart_ms);
    fflush(stdout);
    _exit(0);
}
