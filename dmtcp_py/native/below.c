/* How a wrapper finds the function that it stands before; part of the plugins `files` and `shared`. */

#define _GNU_SOURCE
#include "files.h"

/* dmtcp_dlsym() looks from its caller on, which is this library. */
void *below(const char *name)
{
    if (!dmtcp_dlsym)
        return dlsym(RTLD_NEXT, name);
    return dmtcp_dlsym(RTLD_NEXT, name);
}
