"""Kinds of steps: objects of System V."""

from __future__ import annotations

from random_programs.kind import Kind, Text

KINDS = (
    Kind(
        "System V memory",
        c=Text(
            "MODEL char *sysv_memory, *private_memory; MODEL unsigned sysv_seed; MODEL int sysv_id, private_id;",
            """
            if (!sysv_memory) {
                sysv_id = shmget((key_t)key + me, 3 * PAGE, IPC_CREAT | IPC_EXCL | 0600);
                MUST(sysv_id);
                sysv_memory = shmat(sysv_id, NULL, 0);
                private_id = shmget(IPC_PRIVATE, 5 * PAGE, IPC_CREAT | 0600);
                MUST(private_id);
                private_memory = shmat(private_id, NULL, 0);
            }
            fill(sysv_memory, 3 * PAGE, sysv_seed = n);
            fill(private_memory, 5 * PAGE, ~n);
            """,
            """
            char wanted[5 * PAGE];
            fill(wanted, 3 * PAGE, sysv_seed);
            same_bytes("content", sysv_memory, wanted, 3 * PAGE);
            fill(wanted, sizeof wanted, ~sysv_seed);
            same_bytes("content without a key", private_memory, wanted, sizeof wanted);
            same("number by the key", shmget((key_t)key + me, 0, 0), sysv_id);
            struct shmid_ds now = {0};
            MUST(shmctl(sysv_id, IPC_STAT, &now));
            same("size", (long)now.shm_segsz, 3 * PAGE);
            """,
            "shmctl(sysv_id, IPC_RMID, NULL); shmctl(private_id, IPC_RMID, NULL);",
        ),
    ),
    Kind(
        "System V semaphores",
        c=Text(
            "MODEL int semaphores, semaphore_models[3]; MODEL int has_semaphores;",
            """
            if (!has_semaphores) {
                semaphores = semget((key_t)key + me, 3, IPC_CREAT | IPC_EXCL | 0600);
                MUST(semaphores);
                for (int i = 0; i < 3; i++)
                    MUST(semctl(semaphores, i, SETVAL, 0));
                has_semaphores = 1;
            }
            unsigned i = n % 3;
            short change = semaphore_models[i] && n / 3 % 2 ? -1 : (short)(n / 6 % 5 + 1);
            struct sembuf operation = {.sem_num = (unsigned short)i, .sem_op = change, .sem_flg = IPC_NOWAIT};
            while (semop(semaphores, &operation, 1) && errno == EINTR) {}
            semaphore_models[i] += change;
            """,
            """
            same("number by the key", semget((key_t)key + me, 0, 0), semaphores);
            for (int i = 0; i < 3; i++)
                same("value", semctl(semaphores, i, GETVAL), semaphore_models[i]);
            """,
            "semctl(semaphores, 0, IPC_RMID);",
        ),
    ),
    Kind(
        "System V messages",
        c=Text(
            """
            struct note { long type; char text[400]; };
            MODEL int notes_queue, has_notes, note_count;
            MODEL unsigned note_seeds[6];
            static void send_note(unsigned n)
            {
                struct note note = {.type = 1 + n % 3};
                fill(note.text, sizeof note.text, n);
                while (msgsnd(notes_queue, &note, 1 + n % 400, IPC_NOWAIT) && errno == EINTR) {}
            }
            static int take_note(unsigned n)
            {
                struct note note = {0}, wanted;
                fill(wanted.text, sizeof wanted.text, n);
                ssize_t size = msgrcv(notes_queue, &note, sizeof note.text, 0, IPC_NOWAIT);
                same("size of a message", size, 1 + n % 400);
                same("its type", note.type, 1 + n % 3);
                same_bytes("message", note.text, wanted.text, size > 0 ? (size_t)size : 0);
                return size > 0;
            }
            """,
            """
            if (!has_notes)
                MUST(notes_queue = msgget((key_t)key + me, IPC_CREAT | IPC_EXCL | 0600));
            has_notes = 1;
            if (note_count < 6)
                send_note(note_seeds[note_count++] = n);
            """,
            """
            for (int i = 0; i < note_count; i++)
                if (!take_note(note_seeds[i]))
                    return;
            struct msqid_ds now = {.msg_qnum = 99};
            msgctl(notes_queue, IPC_STAT, &now);
            same("number by the key", msgget((key_t)key + me, 0), notes_queue);
            same("messages left", (long)now.msg_qnum, 0);
            for (int i = 0; i < note_count; i++)
                send_note(note_seeds[i]);
            """,
            "msgctl(notes_queue, IPC_RMID, NULL);",
        ),
    ),
)
