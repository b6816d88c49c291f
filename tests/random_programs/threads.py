"""Kinds of steps: threads that wait, have ended or run."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "thread that waits",
        c=Text(
            """
            /* zeros are a mutex and a condition at their beginning */
            MODEL struct { pthread_t thread; pthread_mutex_t mutex; pthread_cond_t condition; int is_there, may_go;
                unsigned n; } waiting;
            static void *wait_in_thread(void *unused)
            {
                pthread_mutex_lock(&waiting.mutex);
                while (!waiting.may_go)
                    pthread_cond_wait(&waiting.condition, &waiting.mutex);
                pthread_mutex_unlock(&waiting.mutex);
                return (void *)(long)waiting.n;
            }
            static void end_waiting(void)
            {
                void *result = NULL;
                pthread_mutex_lock(&waiting.mutex);
                waiting.may_go = 1;
                pthread_cond_broadcast(&waiting.condition);
                pthread_mutex_unlock(&waiting.mutex);
                same("joining", pthread_join(waiting.thread, &result), 0);
                same("result", (long)result, waiting.n);
                waiting.is_there = 0;
            }
            """,
            """
            if (waiting.is_there) {
                end_waiting();
                return;
            }
            waiting.n = n;
            waiting.may_go = 0;
            waiting.is_there = pthread_create(&waiting.thread, NULL, wait_in_thread, NULL) == 0;
            """,
            end="if (waiting.is_there) end_waiting();",
        ),
        python=Text(
            do="""
                if me() < 3:
                    if getattr(m, "thread", None):
                        m.event.set()
                        m.thread.join()
                        same("result", m.results, [m.n])
                        m.thread = None
                    else:
                        m.event, m.results, m.n = threading.Event(), [], n
                        m.thread = threading.Thread(target=lambda: m.event.wait() and m.results.append(n))
                        m.thread.start()
                """,
            check="if getattr(m, 'thread', None): same('lives', m.thread.is_alive(), True)",
            end="if getattr(m, 'thread', None): m.event.set(); m.thread.join()",
        ),
    ),
    Kind(
        "ended thread not yet joined",
        c=Text(
            """
            MODEL struct { pthread_t thread; int is_there; unsigned n; } ended_thread;
            static void *end_at_once(void *n) { return n; }
            """,
            """
            void *result = NULL;
            if (ended_thread.is_there) {
                same("joining", pthread_join(ended_thread.thread, &result), 0);
                same("result", (long)result, ended_thread.n);
                ended_thread.is_there = 0;
                return;
            }
            ended_thread.n = n;
            ended_thread.is_there = pthread_create(&ended_thread.thread, NULL, end_at_once, (void *)(long)n) == 0;
            """,
        ),
    ),
    Kind(
        "barrier of two threads",
        c=Text(
            """
            MODEL struct { pthread_t thread; pthread_barrier_t barrier; int is_there; } meeting;
            static void *meet(void *barrier) { pthread_barrier_wait(barrier); return NULL; }
            static void end_meeting(void)
            {
                pthread_barrier_wait(&meeting.barrier);
                same("joining", pthread_join(meeting.thread, NULL), 0);
                meeting.is_there = 0;
            }
            """,
            """
            if (meeting.is_there) {
                end_meeting();
                return;
            }
            pthread_barrier_init(&meeting.barrier, NULL, 2);
            meeting.is_there = pthread_create(&meeting.thread, NULL, meet, &meeting.barrier) == 0;
            """,
            end="if (meeting.is_there) end_meeting();",
        ),
    ),
    Kind(
        "spinning thread",
        c=Text(
            """
            MODEL struct { pthread_t thread; volatile int is_there, may_go; volatile long turns; } spinning;
            static void *spin(void *unused)
            {
                for (; !spinning.may_go; sched_yield())
                    spinning.turns++;
                return NULL;
            }
            """,
            """
            if (!spinning.is_there)
                spinning.is_there = pthread_create(&spinning.thread, NULL, spin, NULL) == 0;
            """,
            'long before = spinning.turns; WAIT_UNTIL(spinning.turns != before, "the thread");',
            "spinning.may_go = 1; pthread_join(spinning.thread, NULL);",
        ),
        often=1,
    ),
)
