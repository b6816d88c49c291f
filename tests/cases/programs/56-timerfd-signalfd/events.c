#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
int main(void) {
    sigset_t set; uint64_t ticks; struct signalfd_siginfo got;
    struct itimerspec fast = { { 0, 3000000 }, { 0, 3000000 } }, slow = { { 0, 200000000 }, { 0, 200000000 } };
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, NULL);
    int fds[3] = { timerfd_create(CLOCK_MONOTONIC, 0), timerfd_create(CLOCK_REALTIME, 0), signalfd(-1, &set, 0) };
    if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0) { perror("descriptors"); return 2; }
    timerfd_settime(fds[0], 0, &fast, NULL); timerfd_settime(fds[1], 0, &slow, NULL);
    for (int step = 0; step < 40; step++) {
        kill(getpid(), SIGUSR1);
        for (int i = 0; i < 3; i++) {
            struct pollfd one = { fds[i], POLLIN, 0 };
            if (poll(&one, 1, 5000) != 1) { printf("step %d: nothing comes from %d\n", step, i); return 1; }
            if (read(fds[i], i < 2 ? (void *)&ticks : (void *)&got, i < 2 ? sizeof ticks : sizeof got) <= 0) { perror("read"); return 3; }
        }
        printf("step %d: timers and signal %d\n", step, (int)got.ssi_signo);
        usleep(100000);
    }
    return 31;
}
