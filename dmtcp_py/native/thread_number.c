/* The number by which the C library knows who holds a recursive or robust mutex; part of the plugin `shared`.

   The C library keeps the number of each thread. DMTCP (3.2, 4.2, 5.0) replaces it by the one that the program sees, but
   not in the first thread of a forked child before a restart, and there too after one: unlocking what it locked before
   then fails, and locking it again never returns. Here that thread keeps the number that it had. */

#define _GNU_SOURCE
#include <pthread.h>

#include "files.h"
#include "shared.h"

int _Z20TLSInfo_GetTidOffsetv(void) __attribute__((weak)); /* DMTCP's: where the C library keeps it */

static __thread pid_t kept;

static pid_t *number_of_thread(void)
{
    return (pid_t *)((char *)pthread_self() + _Z20TLSInfo_GetTidOffsetv());
}

void keep_thread_number(int event)
{
    if (!_Z20TLSInfo_GetTidOffsetv)
        return;
    if (event == IN_CHILD)
        kept = *number_of_thread();
    else if (event == THREAD_GOES_ON && kept)
        *number_of_thread() = kept;
}
