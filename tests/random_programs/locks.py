"""Kinds of steps: locks, notifications and threads that are to end."""

from __future__ import annotations

from random_programs.kind import Kind, Text

_SHARED = "mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)"

KINDS = (
    Kind(
        "robust lock whose owner has ended",
        often=0,
        c=Text(
            "MODEL pthread_mutex_t *robust; MODEL pid_t robust_owner; MODEL int robust_gate[2];",
            f"""
            if (robust)
                return;
            robust = {_SHARED};
            pthread_mutexattr_t kind;
            pthread_mutexattr_init(&kind);
            pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
            pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
            pthread_mutex_init(robust, &kind);
            MUST(pipe2(robust_gate, O_CLOEXEC));
            robust_owner = fork();
            if (robust_owner == 0) {{
                char one = 'x';
                pthread_mutex_lock(robust);
                write_all(robust_gate[1], &one, 1);
                for (;;)
                    pause();
            }}
            char one;
            read_all(robust_gate[0], &one, 1);
            """,
            'same("whether it is free", pthread_mutex_trylock(robust), EBUSY);',
            """
            kill_child(robust_owner);
            same("what the next owner is told", pthread_mutex_lock(robust), EOWNERDEAD);
            pthread_mutex_consistent(robust);
            pthread_mutex_unlock(robust);
            """,
        ),
    ),
    Kind(
        "lock with priority inheritance",
        often=0,
        c=Text(
            "MODEL pthread_mutex_t inheriting; MODEL int is_inheriting, is_held;",
            """
            if (!is_inheriting) {
                pthread_mutexattr_t kind;
                pthread_mutexattr_init(&kind);
                pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT);
                pthread_mutex_init(&inheriting, &kind);
                is_inheriting = 1;
            }
            same("locking", is_held ? pthread_mutex_unlock(&inheriting) : pthread_mutex_lock(&inheriting), 0);
            is_held = !is_held;
            """,
            """
            int tried = pthread_mutex_trylock(&inheriting);
            same("whether it is free", tried == 0, !is_held);
            if (tried == 0)
                pthread_mutex_unlock(&inheriting);
            """,
            'if (is_held) same("unlocking", pthread_mutex_unlock(&inheriting), 0);',
        ),
    ),
    Kind(
        "condition shared with a child",
        often=0,
        c=Text(
            """
            MODEL struct together { pthread_mutex_t mutex; pthread_cond_t condition; int asked, answered; } *together;
            MODEL pid_t together_with; MODEL int answers_wanted;
            static void answer_all(void)
            {
                pthread_mutex_lock(&together->mutex);
                for (;;) {
                    while (together->asked == together->answered)
                        pthread_cond_wait(&together->condition, &together->mutex);
                    together->answered = together->asked;
                    pthread_cond_broadcast(&together->condition);
                }
            }
            """,
            f"""
            if (together)
                return;
            together = {_SHARED};
            pthread_mutexattr_t kind;
            pthread_condattr_t of_condition;
            pthread_mutexattr_init(&kind);
            pthread_condattr_init(&of_condition);
            pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
            pthread_condattr_setpshared(&of_condition, PTHREAD_PROCESS_SHARED);
            pthread_mutex_init(&together->mutex, &kind);
            pthread_cond_init(&together->condition, &of_condition);
            together_with = fork();
            if (together_with == 0)
                answer_all();
            """,
            """
            pthread_mutex_lock(&together->mutex);
            together->asked++;
            pthread_cond_broadcast(&together->condition);
            pthread_mutex_unlock(&together->mutex);
            WAIT_UNTIL(__atomic_load_n(&together->answered, __ATOMIC_ACQUIRE) == together->asked, "an answer");
            """,
            "kill_child(together_with);",
        ),
    ),
    Kind(
        "semaphore that is undone at the end",
        often=0,
        c=Text(
            "MODEL int undone; MODEL pid_t undoing; MODEL int undo_gate[2];",
            """
            if (undoing)
                return;
            MUST(undone = semget(IPC_PRIVATE, 1, 0600));
            MUST(semctl(undone, 0, SETVAL, 3));
            MUST(pipe2(undo_gate, O_CLOEXEC));
            undoing = fork();
            if (undoing == 0) {
                struct sembuf down = {.sem_op = -2, .sem_flg = SEM_UNDO};
                int done = semop(undone, &down, 1);
                write_all(undo_gate[1], "x", 1);
                while (done == 0)
                    pause();
                _exit(1);
            }
            char one;
            read_all(undo_gate[0], &one, 1);
            """,
            'same("value", semctl(undone, 0, GETVAL), 1);',
            """
            kill_child(undoing);
            same("value after its end", semctl(undone, 0, GETVAL), 3);
            semctl(undone, 0, IPC_RMID);
            """,
        ),
    ),
    Kind(
        "thread that is cancelled later",
        often=0,
        c=Text(
            """
            MODEL pthread_t cancelled; MODEL int is_to_cancel;
            static void *wait_for_ever(void *unused)
            {
                for (;;)
                    pause();
                return unused;
            }
            static void cancel_it(void)
            {
                void *result = NULL;
                same("cancelling", pthread_cancel(cancelled), 0);
                struct timespec until;
                clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += PATIENCE_S;
                same("joining", pthread_timedjoin_np(cancelled, &result, &until), 0);
                same("result", result == PTHREAD_CANCELED, 1);
                is_to_cancel = 0;
            }
            """,
            """
            if (!is_to_cancel)
                is_to_cancel = pthread_create(&cancelled, NULL, wait_for_ever, NULL) == 0;
            """,
            'same("whether it lives", pthread_tryjoin_np(cancelled, NULL), EBUSY);',
            "if (is_to_cancel) cancel_it();",
        ),
    ),
    Kind(
        "timer of a CPU clock",
        often=0,
        c=Text(
            """
            static volatile sig_atomic_t cpu_timer_fired;
            static void count_cpu_timer(int number) { cpu_timer_fired++; }
            MODEL timer_t cpu_timer; MODEL int has_cpu_timer;
            """,
            """
            if (has_cpu_timer)
                return;
            set_signal(SIGRTMIN + 8, count_cpu_timer, SA_RESTART);
            struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 8};
            MUST(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &cpu_timer));
            struct timespec interval = {0, 8000000};
            MUST(timer_settime(cpu_timer, 0, &(struct itimerspec){interval, interval}, NULL));
            has_cpu_timer = 1;
            """,
            """
            long before = cpu_timer_fired;
            double until = seconds(CLOCK_MONOTONIC) + PATIENCE_S;
            if (IS_TURN) {
                while (cpu_timer_fired == before && seconds(CLOCK_MONOTONIC) < until) {}
                same("whether it fires", cpu_timer_fired > before, 1);
            }
            """,
            "timer_delete(cpu_timer);",
        ),
    ),
    Kind(
        "timer that starts a thread",
        often=0,
        c=Text(
            """
            static volatile int thread_timer_fired;
            static void count_in_thread(union sigval value) { __atomic_add_fetch(&thread_timer_fired, 1, 5); }
            MODEL timer_t thread_timer; MODEL int has_thread_timer;
            """,
            """
            if (has_thread_timer)
                return;
            struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = count_in_thread};
            MUST(timer_create(CLOCK_MONOTONIC, &event, &thread_timer));
            struct timespec interval = {0, 20000000};
            MUST(timer_settime(thread_timer, 0, &(struct itimerspec){interval, interval}, NULL));
            has_thread_timer = 1;
            """,
            """
            long before = thread_timer_fired;
            if (IS_TURN)
                WAIT_UNTIL(thread_timer_fired > before, "a timer");
            """,
            "timer_delete(thread_timer);",
        ),
    ),
    Kind(
        "CPU clock of a thread",
        often=0,
        c=Text(
            "OWN double thread_cpu_model;",
            """
            double until = seconds(CLOCK_THREAD_CPUTIME_ID) + 0.02;
            while (seconds(CLOCK_THREAD_CPUTIME_ID) < until) {}
            thread_cpu_model = until;
            """,
            'same("clock went back", seconds(CLOCK_THREAD_CPUTIME_ID) < thread_cpu_model, 0);',
        ),
    ),
    Kind(
        "keys of memory protection",
        often=0,
        c=Text(
            "MODEL int memory_key; MODEL char *keyed;",
            """
            if (keyed)
                return;
            keyed = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            memory_key = pkey_alloc(0, PKEY_DISABLE_WRITE);
            if (memory_key > 0)
                MUST(pkey_mprotect(keyed, PAGE, PROT_READ | PROT_WRITE, memory_key));
            """,
            """
            int probe[2];
            pipe2(probe, O_CLOEXEC);
            write_all(probe[1], "x", 1);
            same("whether it can be written", read(probe[0], keyed, 1) == 1, memory_key < 0);
            close(probe[0]), close(probe[1]);
            """,
        ),
    ),
)
