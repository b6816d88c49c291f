/* The numbers that DMTCP (3.2, 4.2, 5.0) gives to processes, which are the program's pids; part of the plugin `forks`.

   The coordinator counts them from 41000 on, and after a restart it begins anew: a new child gets the number of one that
   has ended, but was not waited for. A shell then loses the status of the one or the other. So after a restart other
   numbers are used: those that are greater by what the file FIRST says, another number in each life of a program
   (engine/dmtcp/workspace.py). */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "forks.h"
#include "raw.h"

#define FIRST "../first-number" /* DMTCP makes its folder in ours */

const char *dmtcp_get_tmpdir(void) __attribute__((weak));

static int first_number(void)
{
    char path[PATH_MAX], text[16] = "";
    if (!dmtcp_get_tmpdir)
        return 0;
    snprintf(path, sizeof path, "%s/" FIRST, dmtcp_get_tmpdir());
    int file = raw_open(path, O_RDONLY, 0);
    if (file >= 0)
        RAW(SYS_read, file, text, sizeof text - 1);
    raw_close(file);
    return atoi(text);
}

/* DMTCP's Util::setVirtualPidEnvVar(), by which its fork() learns the number that the coordinator chose for the child,
   whose REAL number is 0 until then. No checkpoint begins during a fork. */
void _ZN5dmtcp4Util19setVirtualPidEnvVarEiiii(int number, int real, int parent, int real_parent);

void _ZN5dmtcp4Util19setVirtualPidEnvVarEiiii(int number, int real, int parent, int real_parent)
{
    FIND(_ZN5dmtcp4Util19setVirtualPidEnvVarEiiii);
    next(real ? number : number + first_number(), real, parent, real_parent);
}
