/* Where DMTCP 5.0 writes what it has to say; loaded into programs as a plugin, and without effect on 3.2 and 4.2.

   5.0 forgets at each exec that it was told to be quiet and where to write: its warnings go to the standard error of the
   program. Where that is a pipe within the computation, as with mpirun, one that is written during a checkpoint stands
   in the pipe where DMTCP expects its own words, and the program dies of it. The descriptor that it was given is still
   open: here it is told to use it. */

#include <stddef.h>

enum { LEVEL_ERROR = 0 };

__attribute__((weak)) void _ZN5dmtcp20initializeLogConsoleEPKc(const char *path);
__attribute__((weak)) void _ZN5dmtcp11setLogLevelENS_8LogLevelE(int level);

__attribute__((constructor)) static void keep_to_the_file(void)
{
    if (_ZN5dmtcp20initializeLogConsoleEPKc && _ZN5dmtcp11setLogLevelENS_8LogLevelE) {
        _ZN5dmtcp20initializeLogConsoleEPKc(NULL);
        _ZN5dmtcp11setLogLevelENS_8LogLevelE(LEVEL_ERROR);
    }
}
