/* Anonymous memory that processes share (MAP_SHARED and MAP_ANONYMOUS): shared again after a restart; part of the plugin
   `shared`.

   DMTCP writes it into the image of each process that has it mapped, and restores it in each as its own. Before the images
   each process notes what it has mapped of which memory. After a restart one of them makes a file in memory, all write
   into it what they had mapped, and map that instead; where several had the same part, one writes it. */

#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "shared.h"

#define ANONYMOUS "/dev/zero (deleted)"
/* DMTCP saves the content of a file in memory as of any other, but it also attempts to make a file of that name; not if
   the name has this word in it, by which it knows another kind of device. */
#define FILE_NAME "dmtcp-run: shared memory, not infiniband"
#define MEMORY "memory"
#define BLOCK 4096
#define PAGE 4096

static struct area {
    char *start;
    unsigned long size, offset, inode;
    int protection;
    int is_maker; /* whether this process makes the file, */
    int file;     /* and its descriptor */
    int writes;   /* whether it writes this area */
} *areas;
static int area_count, area_room;

/* Call FOUND with each line of /proc/self/maps, up to the part that fits into a block. */
static void for_each_map(void (*found)(const char *line))
{
    static char block[BLOCK + 1];
    size_t filled = 0;
    long length;
    int maps = raw_open("/proc/self/maps", O_RDONLY, 0);
    while ((length = RAW(SYS_read, maps, block + filled, BLOCK - filled)) > 0) {
        char *line = block, *end;
        filled += (size_t)length;
        block[filled] = 0;
        for (; (end = strchr(line, '\n')); line = end + 1) {
            *end = 0;
            found(line);
        }
        if (line == block)
            filled = 0; /* a line that does not fit has a longer path than those that are looked for */
        else
            memmove(block, line, filled -= (size_t)(line - block));
    }
    raw_close(maps);
}

/* Write to AREA what LINE says, and return whether it is memory that this part keeps. */
static int read_area(const char *line, struct area *area)
{
    unsigned long end;
    char may[5];
    int at = 0;
    *area = (struct area){ 0 };
    if (sscanf(line, "%p-%lx %4s %lx %*s %lu %n", (void **)&area->start, &end, may, &area->offset, &area->inode, &at) != 5)
        return 0;
    area->size = end - (unsigned long)area->start;
    area->protection = (may[0] == 'r') * PROT_READ | (may[1] == 'w') * PROT_WRITE | (may[2] == 'x') * PROT_EXEC;
    return may[3] == 's' && (!strcmp(line + at, ANONYMOUS) || !strncmp(line + at, "/memfd:" FILE_NAME, strlen("/memfd:" FILE_NAME)));
}

static void count(const char *line)
{
    struct area area;
    area_room += read_area(line, &area);
}

static void note(const char *line)
{
    if (area_count < area_room && read_area(line, &areas[area_count]))
        area_count++;
}

/* Memory of which this process may use no part is DMTCP's own, a place that it reserves. */
static int is_used(unsigned long inode)
{
    for (int i = 0; i < area_count; i++)
        if (areas[i].inode == inode && areas[i].protection)
            return 1;
    return 0;
}

void record_shared_memory(void)
{
    area_count = area_room = 0;
    for_each_map(count);
    areas = raw_map((size_t)(area_room + 1) * sizeof *areas, PROT_READ | PROT_WRITE, MAP_ANONYMOUS, -1);
    if (!areas)
        end_because("there is no memory to note what is shared");
    for_each_map(note);
}

void forget_shared_memory(void)
{
    if (areas)
        RAW(SYS_munmap, areas, (size_t)(area_room + 1) * sizeof *areas);
    areas = NULL;
    area_count = 0;
}

static void name_area(char *prefix, size_t size, const struct area *area)
{
    snprintf(prefix, size, MEMORY ".%lx.%lx", area->offset, area->size);
}

/* Make the file for the memory of AREA, if no process has. */
static int make_file(struct area *area)
{
    char path[PATH_MAX];
    if (!mark(MEMORY "-maker", area->inode))
        return -1;
    area->is_maker = 1;
    int fd = (int)RAW(SYS_memfd_create, FILE_NAME, MFD_CLOEXEC);
    if (fd < 0)
        end_because("memory that processes share cannot be made");
    name_in_common(path, sizeof path, MEMORY, area->inode);
    publish(path, fd);
    return fd;
}

static void write_at(int fd, const char *from, size_t size, unsigned long offset)
{
    while (size > 0) {
        long put = RAW(SYS_pwrite64, fd, from, size, offset);
        if (put <= 0)
            end_because("memory that processes share cannot be filled");
        from += put;
        offset += (unsigned long)put;
        size -= (size_t)put;
    }
}

/* Write the pages of AREA that are not empty, and the last one, which makes the file as long as it has to be. */
static void write_area(int fd, const struct area *area)
{
    static const char empty[PAGE];
    for (size_t at = 0; at < area->size; at += PAGE)
        if (at + PAGE >= area->size || memcmp(area->start + at, empty, PAGE))
            write_at(fd, area->start + at, PAGE, area->offset + at);
}

/* Replace AREA by the same part of the file. */
static void map_area(struct area *area)
{
    char path[PATH_MAX], prefix[LINK_LENGTH];
    name_in_common(path, sizeof path, MEMORY, area->inode);
    int fd = raw_open(path, O_RDWR, 0);
    if (fd < 0)
        end_because("memory that processes share cannot be opened");
    RAW(SYS_mprotect, area->start, area->size, area->protection | PROT_READ);
    name_area(prefix, sizeof prefix, area);
    area->writes = mark(prefix, area->inode);
    if (area->writes)
        write_area(fd, area);
    long at = RAW(SYS_mmap, area->start, area->size, area->protection, MAP_SHARED | MAP_FIXED, fd, area->offset);
    if (at != (long)area->start)
        end_because("memory that processes share cannot be mapped");
    raw_close(fd);
}

/* Share the memory again, after a restart. */
void restore_shared_memory(void)
{
    char prefix[LINK_LENGTH];
    for (int i = 0; i < area_count; i++)
        if (is_used(areas[i].inode))
            areas[i].file = make_file(&areas[i]);
    await_others("Memory::Made");
    for (int i = 0; i < area_count; i++)
        if (is_used(areas[i].inode))
            map_area(&areas[i]);
    await_others("Memory::Mapped");
    for (int i = 0; i < area_count; i++) {
        name_area(prefix, sizeof prefix, &areas[i]);
        if (areas[i].writes)
            unlink_in_common(prefix, areas[i].inode);
        if (areas[i].is_maker) {
            raw_close(areas[i].file);
            unlink_in_common(MEMORY, areas[i].inode);
            unlink_in_common(MEMORY "-maker", areas[i].inode);
        }
    }
}
