/* Waits for the next step in one of the ways that Linux has: waits KIND [STEPS]
   KIND: setitimer, timer_create, timerfd, signalfd, eventfd, epoll. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { STEP_NS = 100000000 };
static const struct itimerspec each = {{0, STEP_NS}, {0, STEP_NS}};
static int fd = -1, epoll = -1;

static void need(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(3);
    }
}

static sigset_t blocked(int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return set;
}

static void nothing(int number)
{
    (void)number;
}

static void wait_signal(void)
{
    sigset_t open;
    sigemptyset(&open);
    sigsuspend(&open);
}

static void wait_read(void)
{
    uint64_t count;
    need(read(fd, &count, sizeof count) == sizeof count, "read");
}

static void wait_signalfd(void)
{
    struct signalfd_siginfo info;
    need(read(fd, &info, sizeof info) == sizeof info && info.ssi_signo == SIGALRM, "read");
}

static void wait_epoll(void)
{
    struct epoll_event event;
    int count;
    do
        count = epoll_wait(epoll, &event, 1, 1000);
    while (count <= 0);
    need(event.data.fd == fd, "epoll_wait");
    wait_read();
}

static void *post(void *unused)
{
    for (uint64_t one = 1;; usleep(STEP_NS / 1000))
        need(write(fd, &one, sizeof one) == sizeof one, "write");
    return unused;
}

static void start_clock(int number)
{
    static const struct itimerval alarm = {{0, STEP_NS / 1000}, {0, STEP_NS / 1000}};
    signal(number, nothing);
    blocked(number);
    need(setitimer(ITIMER_REAL, &alarm, NULL) == 0, "setitimer");
}

int main(int argc, char **argv)
{
    const char *kind = argc > 1 ? argv[1] : "setitimer";
    int steps = argc > 2 ? atoi(argv[2]) : 300;
    void (*wait)(void) = wait_read;
    if (!strcmp(kind, "setitimer")) {
        start_clock(SIGALRM);
        wait = wait_signal;
    } else if (!strcmp(kind, "timer_create")) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3};
        timer_t timer;
        signal(SIGRTMIN + 3, nothing);
        blocked(SIGRTMIN + 3);
        need(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "timer_create");
        need(timer_settime(timer, 0, &each, NULL) == 0, "timer_settime");
        wait = wait_signal;
    } else if (!strcmp(kind, "signalfd")) {
        sigset_t set = blocked(SIGALRM);
        start_clock(SIGALRM);
        need((fd = signalfd(-1, &set, 0)) >= 0, "signalfd");
        wait = wait_signalfd;
    } else if (!strcmp(kind, "timerfd")) {
        need((fd = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0, "timerfd_create");
        need(timerfd_settime(fd, 0, &each, NULL) == 0, "timerfd_settime");
    } else {
        pthread_t thread;
        need((fd = eventfd(0, EFD_SEMAPHORE)) >= 0, "eventfd");
        need(pthread_create(&thread, NULL, post, NULL) == 0, "pthread_create");
        if (!strcmp(kind, "epoll")) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
            need((epoll = epoll_create1(0)) >= 0, "epoll_create1");
            need(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
            wait = wait_epoll;
        }
    }
    unsigned x = 1;
    for (int step = 1; step <= steps; step++) {
        wait();
        x = 16807u * x + step;
        printf("%d %u\n", step, x);
        fflush(stdout);
    }
    printf("done %d %u\n", steps, x);
    return 0;
}
