/* What libraries need that do something as soon as they are loaded, under DMTCP (3.2, 4.2, 5.0); loaded as a plugin.

   Constructors of libraries run before those of DMTCP. One that starts threads, as OpenBLAS's does and so every R and
   Octave with it, does so before DMTCP knows of threads, and the program dies. DMTCP has an entry point that makes it
   ready at any time, and calls it in fork() but not in pthread_create(). Here it is called twice:

   - Before any constructor. The loader runs this library's first, as it asks for that with -z initfirst; only one
     library of a process can have it. The C library has prepared threads, the heap and the tables of characters by
     then (since 2.34), but not its pointer to the environment, which DMTCP reads. Up to 2.33 libpthread asks for the
     same and gets it, and this runs among all others.
   - Before the first thread, for where another library was first. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

void dmtcp_initialize_entry_point(void) __attribute__((weak));

static void make_dmtcp_ready(void)
{
    if (dmtcp_initialize_entry_point)
        dmtcp_initialize_entry_point();
}

__attribute__((constructor)) static void begin(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv;
    if (!environ)
        environ = envp;
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
