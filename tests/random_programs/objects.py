"""Kinds of steps: POSIX objects, and memory and locks that processes share."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "memory shared with a child",
        c=Text(
            """
            struct shared { volatile unsigned asked, answered; volatile unsigned sum; };
            MODEL struct shared *shared_with_child;
            MODEL pid_t adding_child;
            MODEL unsigned sum_model;
            static void add_for_ever(struct shared *shared)
            {
                for (;; nap(2000))
                    if (shared->asked != shared->answered) {
                        shared->sum += shared->asked;
                        shared->answered = shared->asked;
                    }
            }
            """,
            """
            if (!shared_with_child) {
                shared_with_child = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
                if ((adding_child = fork()) == 0)
                    add_for_ever(shared_with_child);
            }
            unsigned more = n % 1000 + 1 + (shared_with_child->asked == n % 1000 + 1);
            sum_model += more;
            shared_with_child->asked = more;
            WAIT_UNTIL(shared_with_child->answered == more, "the child");
            """,
            """
            same("sum", shared_with_child->sum, sum_model);
            if (!IS_TURN)
                return;
            unsigned more = 2000 + (shared_with_child->asked == 2000);
            shared_with_child->asked = more;
            sum_model += more;
            WAIT_UNTIL(shared_with_child->answered == more, "the child");
            """,
            "kill_child(adding_child);",
        ),
        python=Text(
            do="""
                if not hasattr(m, "memory"):
                    m.memory, m.total = mmap.mmap(-1, 4096), 0
                    m.pid = os.fork()
                    while m.pid == 0:
                        asked, total, _ = struct.unpack("QQQ", m.memory[:24])
                        if asked:
                            m.memory[:24] = struct.pack("QQQ", 0, total + asked, 1)
                        time.sleep(0.002)
                m.total += n + 1
                m.memory[:8] = struct.pack("Q", n + 1)
                wait_until(lambda: m.memory[:8] == bytes(8), "the child")
                """,
            check="""
                same("sum", struct.unpack("QQ", m.memory[:16])[1], m.total)
                m.total += 1
                m.memory[:8] = struct.pack("Q", 1)
                wait_until(lambda: m.memory[:8] == bytes(8), "the child")
                """,
            end="os.kill(m.pid, signal.SIGKILL); os.waitpid(m.pid, 0)",
        ),
    ),
    Kind(
        "lock shared with a child",
        c=Text(
            """
            struct locked { pthread_mutex_t mutex; sem_t begin, done; volatile unsigned count; };
            MODEL struct locked *locked;
            MODEL pid_t locking_child;
            MODEL unsigned locked_count;
            static void wait_on(sem_t *semaphore) { while (sem_wait(semaphore) && errno == EINTR) {} }
            static void count_for_ever(struct locked *all)
            {
                for (;; sem_post(&all->done)) {
                    wait_on(&all->begin);
                    pthread_mutex_lock(&all->mutex);
                    all->count++;
                    pthread_mutex_unlock(&all->mutex);
                }
            }
            """,
            """
            if (!locked) {
                locked = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
                pthread_mutexattr_t how;
                pthread_mutexattr_init(&how);
                pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
                pthread_mutexattr_setrobust(&how, n % 2 ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED);
                pthread_mutex_init(&locked->mutex, &how);
                sem_init(&locked->begin, 1, 0);
                sem_init(&locked->done, 1, 0);
                if ((locking_child = fork()) == 0)
                    count_for_ever(locked);
            }
            pthread_mutex_lock(&locked->mutex);
            sem_post(&locked->begin);
            locked->count += n % 7;
            pthread_mutex_unlock(&locked->mutex);
            wait_on(&locked->done);
            locked_count += n % 7 + 1;
            """,
            """
            same("count", locked->count, locked_count++);
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += PATIENCE_S;
            sem_post(&locked->begin);
            int result;
            while ((result = sem_timedwait(&locked->done, &until)) && errno == EINTR) {}
            same("waiting for the child", result, 0);
            """,
            "kill_child(locking_child);",
        ),
    ),
    Kind(
        "POSIX messages",
        c=Text(
            """
            MODEL mqd_t mail;
            MODEL int has_mail, mail_count;
            MODEL unsigned mail_seeds[5];
            static const char *name_of_mail(void)
            {
                static char name[60];
                snprintf(name, sizeof name, "/random-%ld-%d", key, me);
                return name;
            }
            static void send_mail(unsigned n)
            {
                char text[100];
                fill(text, sizeof text, n);
                while (mq_send(mail, text, 1 + n % 100, 0) && errno == EINTR) {}
            }
            """,
            """
            if (!has_mail) {
                struct mq_attr how = {.mq_maxmsg = 6, .mq_msgsize = 100};
                mail = mq_open(name_of_mail(), O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &how);
                MUST(mail);
                has_mail = 1;
            }
            if (mail_count < 5)
                send_mail(mail_seeds[mail_count++] = n);
            """,
            """
            char found[100], wanted[100];
            for (int i = 0; i < mail_count; i++) {
                fill(wanted, sizeof wanted, mail_seeds[i]);
                ssize_t size = mq_receive(mail, found, sizeof found, NULL);
                same("size of a message", size, 1 + mail_seeds[i] % 100);
                same_bytes("message", found, wanted, size > 0 ? (size_t)size : 0);
                if (size <= 0)
                    return;
            }
            for (int i = 0; i < mail_count; i++)
                send_mail(mail_seeds[i]);
            """,
            "mq_unlink(name_of_mail());",
        ),
    ),
    Kind(
        "POSIX shared memory",
        c=Text(
            """
            MODEL unsigned char *posix_memory;
            MODEL unsigned posix_seed;
            static const char *name_of_memory(void)
            {
                static char name[60];
                snprintf(name, sizeof name, "/random-%ld-m%d", key, me);
                return name;
            }
            """,
            """
            if (!posix_memory) {
                int fd = shm_open(name_of_memory(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                MUST(ftruncate(fd, 2 * PAGE));
                posix_memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                close(fd);
            }
            fill(posix_memory, 2 * PAGE, posix_seed = n);
            """,
            """
            unsigned char wanted[2 * PAGE], found[2 * PAGE];
            fill(wanted, sizeof wanted, posix_seed);
            same_bytes("content", posix_memory, wanted, sizeof wanted);
            int fd = shm_open(name_of_memory(), O_RDWR | O_CLOEXEC, 0600);
            same("size by name", pread(fd, found, sizeof found, 0), sizeof found);
            same_bytes("content by name", found, wanted, sizeof found);
            close(fd);
            """,
            "shm_unlink(name_of_memory());",
        ),
        python=Text(
            do="""
                if not hasattr(m, "memory"):
                    name = f"random-{sys.argv[2]}-p{me()}"
                    m.memory = multiprocessing.shared_memory.SharedMemory(name, create=True, size=5000)
                m.data = data_of(n, 5000)
                m.memory.buf[:5000] = m.data
                """,
            check='same("content", bytes(m.memory.buf[:5000]), m.data)',
            end="m.memory.close(); m.memory.unlink()",
        ),
    ),
    Kind(
        "POSIX semaphore with a name",
        c=Text(
            """
            MODEL sem_t *named_semaphore;
            MODEL int named_value;
            static const char *name_of_semaphore(void)
            {
                static char name[60];
                snprintf(name, sizeof name, "/random-%ld-%d", key, me);
                return name;
            }
            """,
            """
            if (!named_semaphore)
                named_semaphore = sem_open(name_of_semaphore(), O_CREAT | O_EXCL, 0600, 0);
            if (named_value && n % 3 == 0)
                named_value -= sem_trywait(named_semaphore) == 0;
            else
                named_value += sem_post(named_semaphore) == 0;
            """,
            'int now = -1; sem_getvalue(named_semaphore, &now); same("value", now, named_value);',
            "sem_unlink(name_of_semaphore());",
        ),
    ),
    Kind(
        "multiprocessing queue",
        python=Text(
            do="""
                if me() < 3:
                    m.queue = getattr(m, "queue", None) or multiprocessing.get_context("fork").SimpleQueue()
                    m.values = getattr(m, "values", [])
                    m.values.append(n)
                    m.queue.put(n)
                    if len(m.values) > 5:
                        same("values", [m.queue.get() for _ in m.values], m.values)
                        m.values = []
                """,
            check='same("empty", m.queue.empty(), not m.values)',
        ),
    ),
)
