"""Kinds of steps: signals, masks and handlers, and what is pending."""

from __future__ import annotations

from random_programs.kind import Kind, Of, Text

_COUNTED = "static volatile sig_atomic_t {0}; static void count_{0}(int number) {{ {0}++; }}"

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
)
