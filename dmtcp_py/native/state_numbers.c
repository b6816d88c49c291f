/* Numbers of ended children that were made again after a restart (state_children.c): no new process gets one of them;
   part of the plugin `state`.

   The coordinator of DMTCP (3.2, 4.2, 5.0) gives each new process the next number that no process has which is
   connected to it. After a restart it begins anew, and ended children are not connected. So each process notes their
   numbers in a file, and a number that is in it is given back, and another one asked for. */

#define _GNU_SOURCE
#include <limits.h>

#include "state.h"

#define NAME "ended"
#define MOST_NUMBERS 4096
#define UNREAD (-1)

/* DMTCP's functions, by the names that C++ gives to them */
#define CONNECT_BEFORE_FORK \
    _ZN5dmtcp14CoordinatorAPI29createNewConnectionBeforeForkERNSt7__cxx1112basic_stringIcSt11char_traitsIcENS_10DmtcpAllocIcEEEE
#define GIVEN_NUMBER _ZN5dmtcp4Util23getVirtualPidFromEnvVarEPiS1_S1_S1_
#define TEXT_OF(name) #name
#define NAME_OF(name) TEXT_OF(name)

extern void GIVEN_NUMBER(int *number, int *pid, int *parent, int *real_parent) __attribute__((weak));
int CONNECT_BEFORE_FORK(void *program);

static int numbers[MOST_NUMBERS];
static int count;

/* After a restart: others may have noted some until all have gone on. */
void forget_numbers(void)
{
    count = UNREAD;
}

void note_number(int number)
{
    static char path[PATH_MAX];
    if (!dmtcp_get_tmpdir)
        return;
    snprintf(path, sizeof path, "%s/../" NAME, dmtcp_get_tmpdir());
    int fd = raw_open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    RAW(SYS_write, fd, &number, sizeof number);
    raw_close(fd);
}

static int is_noted(int number)
{
    if (count == UNREAD) {
        int fd = open_ours(NAME);
        long got = fd < 0 ? 0 : RAW(SYS_read, fd, numbers, sizeof numbers);
        raw_close(fd);
        count = got > 0 ? (int)(got / (long)sizeof *numbers) : 0;
    }
    for (int i = 0; i < count; i++)
        if (numbers[i] == number)
            return 1;
    return 0;
}

/* DMTCP calls it before a fork, while no checkpoint can begin; it gives a connection for the child, and its number. */
int CONNECT_BEFORE_FORK(void *program)
{
    static int (*next)(void *);
    if (!next)
        next = (int (*)(void *))next_function(NAME_OF(CONNECT_BEFORE_FORK));
    int given = 0, connection = next(program);
    if (!count || !GIVEN_NUMBER)
        return connection;
    for (GIVEN_NUMBER(&given, NULL, NULL, NULL); is_noted(given); GIVEN_NUMBER(&given, NULL, NULL, NULL)) {
        int taken = connection;
        connection = next(program);
        raw_close(taken);
    }
    return connection;
}
