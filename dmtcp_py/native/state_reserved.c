/* The numbers of descriptors that DMTCP (3.2, 4.2, 5.0) keeps for itself, 821 to 841; part of the plugin `state`.

   DMTCP opens most of its own descriptors for a checkpoint or a restart only, and closes the program's if the program
   got such a number. So the free ones are taken here, and a program that has many files open gets the numbers after
   them. DMTCP does not mind: it chooses its numbers with dup2(2), and looks at none that it has not made.

   The first is the connection to the coordinator. DMTCP writes a message to it in parts, and without TCP_NODELAY each
   part waits until the coordinator has acknowledged the one before, which it delays by 40 ms (native/peers.c). */

#define _GNU_SOURCE
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "state.h"

#define FIRST 821
#define LAST 841

void send_at_once(void)
{
    RAW(SYS_setsockopt, FIRST, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

void reserve_numbers(void)
{
    static char path[PATH_MAX];
    if (!dmtcp_get_tmpdir)
        return;
    snprintf(path, sizeof path, "%s/", dmtcp_get_tmpdir());
    int folder = raw_open(path, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0)
        return;
    int taken;
    do
        taken = (int)RAW(SYS_fcntl, folder, F_DUPFD_CLOEXEC, FIRST);
    while (taken >= 0 && taken <= LAST);
    raw_close(taken);
    if (folder < FIRST || folder > LAST)
        raw_close(folder);
}
