/* What programs share by a key or a name that no file system has: objects of System V, and POSIX message queues; part of
   the plugin `files`.

   The kernel keeps them when the program is killed. One that was made after the checkpoint must not be there when the
   resumed program makes it once more: it would find old messages and values, or fail for IPC_EXCL and O_EXCL. Under CRIU
   they go with a namespace of the program's own. dmtcp_py/rollback/objects.py removes them by what is recorded here. */

#define _GNU_SOURCE
#include <string.h>
#include <sys/ipc.h>

#include "changes.h"
#include "files.h"

#define FOLDER "/SYSV/"

/* Record that there is no object of this NAME in the FOLDER yet. */
static void record_object(struct held *held, const char *folder, const char *name)
{
    static const struct stat none;
    struct stat found = none;
    hold(held);
    unsigned part = find_part();
    uint64_t key = key_of(&none, NAMED, folder) ^ key_of(&none, NAMED, name);
    struct buffers *buffers = part && !is_recorded(key, part) ? borrow_buffers() : NULL;
    if (!buffers)
        return;
    struct text text = TEXT_IN(buffers->real);
    add(&text, FOLDER);
    add(&text, folder);
    add(&text, name);
    write_entry(part, buffers, &(struct entry){ .kind = 'C', .found = &found, .name = key, .copy = "-",
                                                .path = buffers->real });
    return_buffers(buffers);
}

/* Record what a call makes that gets an object of System V by its KEY; GET is the kernel's number of that call. */
void record_keyed(struct held *held, long get, key_t key, int flags)
{
    char name[FD_LINK];
    struct text text = TEXT_IN(name);
    hold_nothing(held);
    if (key == IPC_PRIVATE || !(flags & IPC_CREAT) || !dmtcp_get_ckpt_dir || RAW(get, key, 0, 0) != -ENOENT)
        return;
    add_number(&text, (uint32_t)key, 10, 0);
    record_object(held, get == SYS_msgget ? "msg/" : get == SYS_semget ? "sem/" : "shm/", name);
}

/* The same for mq_open(): NAME is without the slash. */
void record_queue(struct held *held, const char *name, int flags)
{
    hold_nothing(held);
    if (!name || !(flags & O_CREAT) || !dmtcp_get_ckpt_dir)
        return;
    int fd = (int)RAW(SYS_mq_open, name, O_RDONLY | O_CLOEXEC, 0, NULL);
    raw_close(fd);
    if (fd == -ENOENT)
        record_object(held, "mqueue/", name);
}
