"""Kinds of steps: timers."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "setitimer",
        c=Text(
            """
            static volatile sig_atomic_t fired[3];
            static void count_fired(int number)
            {
                fired[number == SIGALRM ? ITIMER_REAL : number == SIGVTALRM ? ITIMER_VIRTUAL : ITIMER_PROF]++;
            }
            static volatile unsigned long burnt;
            static void burn(volatile sig_atomic_t *count, long before)
            {
                double until = seconds(CLOCK_PROCESS_CPUTIME_ID) + 3;
                while (*count == before && seconds(CLOCK_PROCESS_CPUTIME_ID) < until)
                    for (int i = 0; i < 100000; i++)
                        burnt += (unsigned long)i;
            }
            MODEL struct { int is_set; long interval_us; } itimer_models[3];
            """,
            """
            int which = (int)(n % 3);
            struct itimerval wanted = {.it_interval.tv_usec = 8000 + (n / 4 % 3) * 4000};
            wanted.it_value = wanted.it_interval;
            set_signal(which == ITIMER_REAL ? SIGALRM : which == ITIMER_VIRTUAL ? SIGVTALRM : SIGPROF, count_fired,
                       SA_RESTART);
            MUST(setitimer(which, &wanted, NULL));
            itimer_models[which].is_set = 1;
            itimer_models[which].interval_us = wanted.it_interval.tv_usec;
            """,
            """
            int is_turn = IS_TURN;
            for (int which = 0; which < 3; which++)
                if (itimer_models[which].is_set) {
                    struct itimerval now;
                    getitimer(which, &now);
                    same("interval in us, in steps of 4 ms", (now.it_interval.tv_usec + 3999) / 4000,
                         (itimer_models[which].interval_us + 3999) / 4000);
                    long before = fired[which];
                    if (!is_turn)
                        continue;
                    if (which != ITIMER_REAL)
                        burn(&fired[which], before);
                    WAIT_UNTIL(fired[which] > before, "a timer");
                }
            """,
            "for (int which = 0; which < 3; which++) setitimer(which, &(struct itimerval){0}, NULL);",
        ),
        python=Text(
            do="""
                if me() == 0:
                    m.fired = []
                    signal.signal(signal.SIGALRM, lambda number, frame: m.fired.append(1))
                    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01 + n % 4 / 200)
                """,
            check="""
                if me() == 0:
                    before = len(m.fired)
                    wait_until(lambda: len(m.fired) > before, "a timer")
                """,
        ),
    ),
    Kind(
        "timer_create",
        c=Text(
            """
            static volatile sig_atomic_t timers_fired[3];
            static void count_timer(int number, siginfo_t *info, void *context)
            {
                timers_fired[info->si_value.sival_int % 3]++;
            }
            MODEL struct { int is_set; timer_t timer; } timer_models[3];
            """,
            """
            unsigned i = n % 3;
            struct sigaction action = {.sa_sigaction = count_timer, .sa_flags = SA_RESTART | SA_SIGINFO};
            sigaction(SIGRTMIN + 4, &action, NULL);
            struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 4,
                                     .sigev_value.sival_int = (int)i};
            if (timer_models[i].is_set)
                timer_delete(timer_models[i].timer);
            MUST(timer_create((clockid_t)PICK(n / 3, CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME), &event,
                              &timer_models[i].timer));
            struct timespec interval = {0, 5000000 + n % 4 * 1000000};
            MUST(timer_settime(timer_models[i].timer, 0, &(struct itimerspec){interval, interval}, NULL));
            timer_models[i].is_set = 1;
            """,
            """
            int is_turn = IS_TURN;
            for (int i = 0; i < 3; i++)
                if (timer_models[i].is_set && is_turn) {
                    long before = timers_fired[i];
                    WAIT_UNTIL(timers_fired[i] > before, "a timer");
                }
            """,
            "for (int i = 0; i < 3; i++) if (timer_models[i].is_set) timer_delete(timer_models[i].timer);",
        ),
    ),
    Kind(
        "timerfd",
        c=Text(
            "MODEL struct { int is_set, fd; double far; } timerfd_models[2];",
            """
            unsigned i = n % 2;
            if (timerfd_models[i].is_set)
                close(timerfd_models[i].fd);
            int fd = timerfd_create((int)PICK(n / 2, CLOCK_MONOTONIC, CLOCK_REALTIME), TFD_NONBLOCK | TFD_CLOEXEC);
            struct timespec interval = i ? (struct timespec){4000, 0} : (struct timespec){0, 6000000};
            MUST(timerfd_settime(fd, 0, &(struct itimerspec){interval, interval}, NULL));
            timerfd_models[i].is_set = 1;
            timerfd_models[i].fd = fd;
            """,
            """
            uint64_t times = 0;
            if (timerfd_models[0].is_set && IS_TURN)
                WAIT_UNTIL(read(timerfd_models[0].fd, &times, sizeof times) == sizeof times, "a timerfd");
            if (timerfd_models[1].is_set) {
                struct itimerspec now;
                MUST(timerfd_gettime(timerfd_models[1].fd, &now));
                same("whether the far one is to come", now.it_value.tv_sec > 2000 && now.it_value.tv_sec <= 4000, 1);
                same("its interval", now.it_interval.tv_sec, 4000);
            }
            """,
        ),
    ),
    Kind(
        "signalfd",
        c=Text(
            "MODEL int signalfd_model;",
            """
            sigset_t one;
            sigemptyset(&one);
            sigaddset(&one, SIGRTMIN + 6);
            if (!signalfd_model)
                signalfd_model = signalfd(-1, &one, SFD_NONBLOCK | SFD_CLOEXEC);
            """,
            """
            struct signalfd_siginfo info = {0};
            kill(getpid(), SIGRTMIN + 6);
            same("size of what it gives", read(signalfd_model, &info, sizeof info), sizeof info);
            same("number of the signal", info.ssi_signo, SIGRTMIN + 6);
            """,
        ),
    ),
)
