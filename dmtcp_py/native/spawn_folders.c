/* The directory in which posix_spawn() will open files, if the file actions before that change it; part of the plugin
   `files`. What is opened is recorded when the action is added (changes.c), because its form is the C library's own. */

#define _GNU_SOURCE
#include <limits.h>
#include <spawn.h>
#include <string.h>

#include "files.h"

#define MOST_ACTIONS 16

/* Those that were used last; a program rarely makes several at a time. */
static struct {
    const posix_spawn_file_actions_t *actions; /* NULL: free */
    char folder[PATH_MAX];
} known[MOST_ACTIONS];
static unsigned last;

/* Return the directory to which ACTIONS change; NULL if they do not. */
const char *folder_of_actions(const posix_spawn_file_actions_t *actions)
{
    for (int i = 0; i < MOST_ACTIONS; i++)
        if (known[i].actions == actions)
            return known[i].folder;
    return NULL;
}

static void forget(const posix_spawn_file_actions_t *actions)
{
    for (int i = 0; i < MOST_ACTIONS; i++)
        if (known[i].actions == actions)
            known[i].actions = NULL;
}

/* Note that ACTIONS change to FOLDER, from where they have changed to before. */
static void note(const posix_spawn_file_actions_t *actions, const char *folder)
{
    char *place = (char *)folder_of_actions(actions);
    if (!place) {
        unsigned i = last++ % MOST_ACTIONS;
        known[i].actions = actions;
        place = known[i].folder;
        *place = 0;
    }
    struct text text = { folder[0] == '/' || !*place ? place : place + strlen(place), place + PATH_MAX - 1 };
    if (text.at != place)
        add(&text, "/");
    add(&text, folder);
}

#define CHANGES_FOLDER(name)                                                                             \
    int name(posix_spawn_file_actions_t *restrict actions, const char *restrict folder);                 \
    int name(posix_spawn_file_actions_t *restrict actions, const char *restrict folder)                  \
    {                                                                                                    \
        FIND(name);                                                                                      \
        int result = next(actions, folder);                                                              \
        if (!result)                                                                                     \
            note(actions, folder);                                                                       \
        return result;                                                                                   \
    }

#define CHANGES_FOLDER_BY_DESCRIPTOR(name)                         \
    int name(posix_spawn_file_actions_t *actions, int fd);         \
    int name(posix_spawn_file_actions_t *actions, int fd)          \
    {                                                              \
        FIND(name);                                                \
        char link[FD_LINK];                                        \
        int result = next(actions, fd);                            \
        name_descriptor(link, fd);                                 \
        if (!result)                                               \
            note(actions, link);                                   \
        return result;                                             \
    }

#define FORGETS(name)                                  \
    int name(posix_spawn_file_actions_t *actions)      \
    {                                                  \
        FIND(name);                                    \
        forget(actions);                               \
        return next(actions);                          \
    }

/* the second name of each is the one in POSIX since 2024 */
CHANGES_FOLDER(posix_spawn_file_actions_addchdir_np)
CHANGES_FOLDER(posix_spawn_file_actions_addchdir)
CHANGES_FOLDER_BY_DESCRIPTOR(posix_spawn_file_actions_addfchdir_np)
CHANGES_FOLDER_BY_DESCRIPTOR(posix_spawn_file_actions_addfchdir)
FORGETS(posix_spawn_file_actions_init)
FORGETS(posix_spawn_file_actions_destroy)
