/* What a path leads to, without its symbolic links; part of the plugin `files`. */

#define _GNU_SOURCE
#include <string.h>

#include "files.h"
#include "journal.h"

#define OUR_PREFIX "/dmtcp-run-"
#define OUR_DIGITS 12

/* Whether PATH is a file in memory: gone after a reboot, and kept with each generation by dmtcp_py/rollback/in_memory.py.
   Nothing is copied of it here. */
int is_in_memory(const char *path)
{
    return !strncmp(path, IN_MEMORY, sizeof IN_MEMORY - 1);
}

/* Whether PATH is the kernel's, in the folder of the job, or in a temporary folder of ours (`dmtcp-run-`, 12 hex
   digits, and another hyphen). */
int is_not_the_programs(const char *path)
{
    static const char *const kernel[] = { "/dev/", "/proc/", "/sys/" };
    size_t length = strlen(job_folder);
    if (is_in_memory(path) && !is_memory_recorded)
        return 1;
    for (int i = 0; i < 3; i++)
        if (!strncmp(path, kernel[i], strlen(kernel[i])) && !is_in_memory(path))
            return 1;
    if (!strncmp(path, job_folder, length) && path[length] == '/')
        return 1;
    for (const char *at = path; (at = strstr(at, OUR_PREFIX)); at++) {
        const char *digits = at + sizeof OUR_PREFIX - 1;
        if (strspn(digits, "0123456789abcdef") == OUR_DIGITS && digits[OUR_DIGITS] == '-')
            return 1;
    }
    return 0;
}

/* Write to REAL where PATH, from DIR on, is: the path of its folder without links, and the last part of its name.
   Return 0 or minus errno; 1 if the last part is not a name ("/", ".", ".."). */
int find_real_name(int dir, const char *path, char *real)
{
    size_t length = strnlen(path, PATH_MAX);
    if (length == PATH_MAX)
        return -ENAMETOOLONG;
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t base = length;
    while (base > 0 && path[base - 1] != '/')
        base--;
    const char *last = path + base;
    size_t rest = length - base;
    if (!rest || (rest == 1 && *last == '.') || (rest == 2 && last[0] == '.' && last[1] == '.'))
        return 1;
    char link[FD_LINK];
    memcpy(real, path, base);
    strcpy(real + base, base ? "" : ".");
    int fd = (int)RAW(SYS_openat, dir, real, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fd;
    name_descriptor(link, fd);
    int got = raw_link_text(link, real, PATH_MAX);
    raw_close(fd);
    if (got <= 0 || real[0] != '/' || (size_t)got + rest + 2 > PATH_MAX)
        return -ENAMETOOLONG;
    got -= got == 1;
    real[got] = '/';
    memcpy(real + got + 1, last, rest);
    real[got + 1 + (int)rest] = 0;
    return 0;
}

/* Return the key of a name by that of its folder, whose path is written to FOLDER; 0 if the folder does not exist. */
uint64_t key_of_name(const char *real, char *folder)
{
    struct stat found;
    const char *last = strrchr(real, '/');
    memcpy(folder, real, (size_t)(last - real) + 1);
    folder[last - real + 1] = 0;
    return raw_stat(AT_FDCWD, folder, 0, &found) ? 0 : key_of(&found, NAMED, last + 1);
}
