/* Parent and child share System V memory and semaphores: sysv [STEPS] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

static int semaphores;

static void change(int number, int by)
{
    struct sembuf operation = {number, by, 0};
    if (semop(semaphores, &operation, 1) < 0) {
        perror("semop");
        exit(3);
    }
}

int main(int argc, char **argv)
{
    int steps = argc > 1 ? atoi(argv[1]) : 300, status = 0;
    int memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    semaphores = semget(IPC_PRIVATE, 2, IPC_CREAT | 0600);
    unsigned *x = memory < 0 ? (unsigned *)-1 : shmat(memory, NULL, 0);
    if (semaphores < 0 || x == (unsigned *)-1) {
        perror("System V");
        return 3;
    }
    *x = 1;
    pid_t child = fork();
    if (child == 0) {
        for (int step = 1; step <= steps; step++) {
            change(0, -1);
            *x = 16807u * *x + step;
            change(1, 1);
        }
        _exit(0);
    }
    for (int step = 1; step <= steps; step++) {
        change(0, 1);
        change(1, -1);
        printf("%d %u\n", step, *x);
        fflush(stdout);
        usleep(100000);
    }
    waitpid(child, &status, 0);
    printf("done %d %u %d\n", steps, *x, status);
    shmdt(x);
    shmctl(memory, IPC_RMID, NULL);
    semctl(semaphores, 0, IPC_RMID);
    return 0;
}
