/* Where DMTCP 5.0 writes its messages; loaded into programs as a plugin, and without effect on 3.2 and 4.2.

   At each exec 5.0 forgets that it was told to be quiet and where to write: its warnings go to the program's standard
   error. If that is a pipe within the computation, as with mpirun, a warning during a checkpoint is in the pipe where
   DMTCP expects its own marker, and the program dies. The descriptor that DMTCP was told to use is still open: this
   plugin makes it use that again. */

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
