/* Hold locks that processes share, and one of a child's own, while the other process waits: locks STEPS. */

#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_US 40000

static struct {
    pthread_mutex_t robust, plain;
    pthread_cond_t turned;
    pthread_barrier_t barrier;
    sem_t asked, answered;
    int turn, answers;
} *shared;

static void make_locks(void)
{
    pthread_mutexattr_t mutex;
    pthread_condattr_t condition;
    pthread_barrierattr_t barrier;
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->plain, &mutex);
    pthread_mutexattr_setrobust(&mutex, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &mutex);
    pthread_condattr_init(&condition);
    pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->turned, &condition);
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &barrier, 2);
    sem_init(&shared->asked, 1, 0);
    sem_init(&shared->answered, 1, 0);
}

/* Do one thing after the other with the other process; return how many calls failed. */
static int step(int is_child, pthread_mutex_t *own)
{
    int failed = pthread_mutex_lock(own) != 0;
    failed += pthread_mutex_lock(&shared->robust) != 0;
    usleep(PAUSE_US);
    failed += pthread_mutex_unlock(&shared->robust) != 0;
    pthread_barrier_wait(&shared->barrier);
    pthread_mutex_lock(&shared->plain);
    while (shared->turn != is_child)
        pthread_cond_wait(&shared->turned, &shared->plain);
    usleep(PAUSE_US);
    shared->turn = !is_child;
    pthread_cond_broadcast(&shared->turned);
    pthread_mutex_unlock(&shared->plain);
    sem_post(is_child ? &shared->answered : &shared->asked);
    while (sem_wait(is_child ? &shared->asked : &shared->answered))
        ;
    shared->answers += is_child;
    pthread_barrier_wait(&shared->barrier);
    return failed + (pthread_mutex_unlock(own) != 0);
}

int main(int count, char **words)
{
    pthread_mutex_t own;
    pthread_mutexattr_t recursive;
    int steps = count > 1 ? atoi(words[1]) : 0, failed = 0, status = 0;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    make_locks();
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&own, &recursive);
    pid_t child = fork();
    for (int i = 0; i < steps; i++) {
        failed += step(child == 0, &own);
        if (child)
            printf("%d %d %d\n", i, shared->answers, failed);
        fflush(stdout);
    }
    if (!child)
        return failed;
    waitpid(child, &status, 0);
    printf("end %d\n", status);
    return 0;
}
