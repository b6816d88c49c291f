"""Kinds of steps: signals, masks and handlers, what is pending, and timers."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

_COUNTED = "static volatile sig_atomic_t {0}; static void count_{0}(int number) {{ {0}++; }}"
_FIRES = """
    if ({is_set}) {{
        long before = {count};
        WAIT_UNTIL({count} > before, "{what}");
    }}
"""

KINDS = (
    Kind(
        "signal mask",
        of=Of.THREAD,
        c=Text(
            """
            static const int maskable[] = {SIGXCPU, SIGXFSZ, SIGPWR, SIGTTOU, SIGTTIN};
            OWN unsigned mask_model;
            """,
            """
            mask_model = n % 32;
            for (unsigned i = 0; i < 5; i++) {
                sigset_t one;
                sigemptyset(&one);
                sigaddset(&one, maskable[i]);
                pthread_sigmask(mask_model >> i & 1 ? SIG_BLOCK : SIG_UNBLOCK, &one, NULL);
            }
            """,
            """
            sigset_t now;
            pthread_sigmask(SIG_BLOCK, NULL, &now);
            for (unsigned i = 0; i < 5; i++)
                same("whether one is blocked", sigismember(&now, maskable[i]), mask_model >> i & 1);
            """,
        ),
        python=Text(
            do="""
                maskable = [signal.SIGXCPU, signal.SIGPWR, signal.SIGTTOU]
                m.mask = {one for bit, one in enumerate(maskable) if n >> bit & 1}
                signal.pthread_sigmask(signal.SIG_SETMASK, m.mask)
                """,
            check='same("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []), m.mask)',
        ),
    ),
    Kind(
        "signal handler",
        c=Text(
            """
            static const int handled[] = {SIGUSR1, SIGWINCH, SIGURG, SIGTTOU};
            static volatile sig_atomic_t handled_by[2];
            static void handle_one(int number) { handled_by[0]++; }
            static void handle_two(int number) { handled_by[1]++; }
            MODEL struct { int is_set, flags; unsigned which; } handler_models[COUNT(handled)];
            """,
            """
            unsigned i = n % COUNT(handled);
            handler_models[i].is_set = 1;
            handler_models[i].which = n / 8 % 3;
            handler_models[i].flags = (int)PICK(n / 32, 0, SA_RESTART, SA_NODEFER, SA_ONSTACK | SA_RESTART);
            set_signal(handled[i], handler_models[i].which == 0 ? handle_one : handler_models[i].which == 1 ? handle_two
                       : SIG_IGN, handler_models[i].flags);
            """,
            """
            for (unsigned i = 0; i < COUNT(handled); i++)
                if (handler_models[i].is_set) {
                    struct sigaction now;
                    MUST(sigaction(handled[i], NULL, &now));
                    same("flags", now.sa_flags & ~0x04000000, handler_models[i].flags);
                    unsigned which = handler_models[i].which;
                    same("handler", now.sa_handler == (which == 0 ? handle_one : which == 1 ? handle_two : SIG_IGN), 1);
                    if (which < 2 && handled[i] != SIGTTOU) {
                        int before = handled_by[which];
                        raise(handled[i]);
                        same("calls of the handler", handled_by[which] - before, 1);
                    }
                }
            """,
        ),
        python=Text(
            do="""
                if me() < 3:
                    m.calls = getattr(m, "calls", [])
                    m.which = [signal.SIGUSR1, signal.SIGWINCH, signal.SIGHUP][n % 3]
                    with contextlib.suppress(ValueError):
                        signal.signal(m.which, lambda number, frame: m.calls.append(number))
                """,
            check="""
                before = len(m.calls)
                os.kill(os.getpid(), m.which)
                wait_until(lambda: len(m.calls) > before, "a handler")
                """,
        ),
    ),
    Kind(
        "handler for SIGUSR2",
        c=Text(
            _COUNTED.format("usr2"),
            "set_signal(SIGUSR2, count_usr2, SA_RESTART);",
            'int before = usr2; raise(SIGUSR2); same("calls of the handler", usr2 - before, 1);',
        ),
    ),
    Kind(
        "signal stack",
        of=Of.THREAD,
        c=Text(
            "OWN char *stack_model; OWN size_t stack_size_model;",
            """
            stack_size_model = 16384 + n % 4 * PAGE;
            stack_model = mmap(NULL, stack_size_model, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            MUST(sigaltstack(&(stack_t){.ss_sp = stack_model, .ss_size = stack_size_model}, NULL));
            """,
            """
            stack_t now;
            MUST(sigaltstack(NULL, &now));
            same("place", now.ss_sp == stack_model, 1);
            same("size", (long)now.ss_size, (long)stack_size_model);
            """,
        ),
    ),
    Kind(
        "pending signal",
        c=Text(
            "MODEL int is_pending_model;",
            """
            if (is_pending_model && n % 3 == 0) {
                sigset_t one;
                sigemptyset(&one);
                sigaddset(&one, SIGIO);
                same("the signal taken", sigtimedwait(&one, NULL, &(struct timespec){0}), SIGIO);
                is_pending_model = 0;
            } else {
                kill(getpid(), SIGIO);
                is_pending_model = 1;
            }
            """,
            """
            sigset_t now;
            sigpending(&now);
            same("whether it is pending", sigismember(&now, SIGIO), is_pending_model);
            """,
        ),
    ),
    Kind(
        "queued signals",
        c=Text(
            """
            #define QUEUED (SIGRTMIN + 3)
            MODEL int queued_models[8], queued_count;
            static int take_queued(int *value)
            {
                sigset_t one;
                siginfo_t found;
                int number;
                sigemptyset(&one);
                sigaddset(&one, QUEUED);
                while ((number = sigtimedwait(&one, &found, &(struct timespec){0})) < 0 && errno == EINTR) {}
                *value = found.si_value.sival_int;
                return number == QUEUED;
            }
            """,
            """
            if (queued_count < 8) {
                MUST(sigqueue(getpid(), QUEUED, (union sigval){.sival_int = (int)(n % 10000)}));
                queued_models[queued_count++] = (int)(n % 10000);
            }
            """,
            """
            int value = -1;
            for (int i = 0; i < queued_count; i++)
                if (!take_queued(&value)) {
                    differ("%d signals are queued, not %d", i, queued_count);
                    return;
                } else {
                    same("value of a signal", value, queued_models[i]);
                }
            same("whether there is one more", take_queued(&value), 0);
            for (int i = 0; i < queued_count; i++)
                sigqueue(getpid(), QUEUED, (union sigval){.sival_int = queued_models[i]});
            """,
        ),
    ),
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
