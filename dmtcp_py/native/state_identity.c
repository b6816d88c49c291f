/* What DMTCP (4.2, 5.0) calls a process among all; part of the plugin `state`.

   A child of fork() has no name of its own until its first checkpoint: dmtcp_get_uniquepid() gives zeros. So files and
   sockets that two children opened have the same name, made of that and a number which both counted from their parent's.
   If one of them has a child that shares such a file, the other one also sends its own at a restart: the child gets the
   wrong file, or the restart fails. DMTCP knows the right name in another place. */

#define _GNU_SOURCE
#include "state.h"

/* DmtcpUniqueProcessId, which is also all that DMTCP's UniquePid has */
struct identity {
    uint64_t host, time;
    int pid;
    unsigned generation;
};

#define THIS_PROCESS _ZN5dmtcp9UniquePid11ThisProcessEb

extern const struct identity *THIS_PROCESS(_Bool is_quiet) __attribute__((weak));
struct identity dmtcp_get_uniquepid(void);

struct identity dmtcp_get_uniquepid(void)
{
    static struct identity (*next)(void);
    if (!next)
        next = (struct identity(*)(void))next_function("dmtcp_get_uniquepid");
    struct identity found = next();
    return found.pid || !THIS_PROCESS ? found : *THIS_PROCESS(1);
}
