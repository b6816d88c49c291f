/* Makes DMTCP (3.2, 4.2, 5.0) ready before libraries start threads; loaded into programs as a plugin.

   Constructors of libraries run before DMTCP's own. One that starts threads, as OpenBLAS's does, and so R's and
   Octave's, starts them before DMTCP knows of threads, and the program crashes. DMTCP has an entry point that makes it
   ready at any time, and calls it in fork(), but not in pthread_create(). This part calls it at two moments:

   - Before any constructor. The loader runs this library's first, because it is linked with -z initfirst; only one
     library of a process is run first, the last loaded of those that ask. The C library has prepared threads, the heap
     and the tables of characters by then (since 2.34), but not its pointer to the environment, which DMTCP reads. Up to
     2.33 libpthread is run first, and this constructor runs among all others.
   - Before the first thread, in case another library was run first. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

void dmtcp_initialize_entry_point(void) __attribute__((weak));

static void make_dmtcp_ready(void)
{
    if (dmtcp_initialize_entry_point)
        dmtcp_initialize_entry_point();
}

/* The C library does not, in a process in which another library is run first; error() and err() print it. */
static void name_program(char *path)
{
    char *slash = strrchr(path, '/');
    program_invocation_name = path;
    program_invocation_short_name = slash ? slash + 1 : path;
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **envp)
{
    (void)argc;
    if (!environ)
        environ = envp;
    if (argv[0] && !*program_invocation_name)
        name_program(argv[0]);
    make_dmtcp_ready();
}

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* DMTCP's, where there is one: dlsym(RTLD_NEXT) leaves it out up to 4.2. Only once DMTCP is ready: dlopen() runs the
   constructors of what it opens, and in DMTCP's the number of this thread changes, by which the loader's lock is held. */
static create_function *find_next(void)
{
    Dl_info found;
    void *known_symbol = dlsym(RTLD_DEFAULT, "dmtcp_get_ckpt_signal");
    void *dmtcp = known_symbol && dladdr(known_symbol, &found) ? dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    return (create_function *)dlsym(dmtcp ? dmtcp : RTLD_NEXT, "pthread_create");
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*start)(void *),
                   void *restrict argument)
{
    static create_function *next;
    make_dmtcp_ready();
    if (!next)
        next = find_next();
    return next(thread, attributes, start, argument);
}
