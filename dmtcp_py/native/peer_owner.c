/* Whose a TCP socket on this host is, and whether a process of the computation has it. */

#define _DEFAULT_SOURCE
#include "peers.h"
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_of_diag(const struct inet_diag_sockid *id, const end *theirs, const end *ours)
{
    return id->idiag_sport == theirs->sin_port && id->idiag_dport == ours->sin_port
           && id->idiag_src[0] == theirs->sin_addr.s_addr && id->idiag_dst[0] == ours->sin_addr.s_addr;
}

static enum answer ask_kernel(const end *theirs, const end *ours, struct owner *owner)
{
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } request = {{.nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
                 {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0U}};
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } reply;
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    request.body.id.idiag_sport = theirs->sin_port;
    request.body.id.idiag_dport = ours->sin_port;
    request.body.id.idiag_src[0] = theirs->sin_addr.s_addr;
    request.body.id.idiag_dst[0] = ours->sin_addr.s_addr;
    request.body.id.idiag_cookie[0] = request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return CANNOT_SAY;
    ssize_t got = sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&kernel, sizeof kernel);
    if (got >= 0)
        do
            got = recv(fd, &reply, sizeof reply, 0);
        while (got < 0 && errno == EINTR);
    close(fd);
    if (got < (ssize_t)sizeof(struct nlmsghdr))
        return CANNOT_SAY;
    if (reply.head.nlmsg_type == NLMSG_ERROR) {
        const struct nlmsgerr *error = NLMSG_DATA(&reply.head);
        return error->error == -ENOENT ? NOT_HERE : CANNOT_SAY;
    }
    const struct inet_diag_msg *found = NLMSG_DATA(&reply.head);
    if (reply.head.nlmsg_type != SOCK_DIAG_BY_FAMILY || got < (ssize_t)NLMSG_LENGTH(sizeof *found))
        return CANNOT_SAY;
    if (!is_of_diag(&found->id, theirs, ours)) /* a listener at that address and port */
        return NOT_HERE;
    *owner = (struct owner){found->idiag_uid, found->idiag_inode};
    return FOUND;
}

static enum answer read_table(const end *theirs, const end *ours, struct owner *owner)
{
    char line[512];
    enum answer answer = NOT_HERE;
    FILE *table = fopen("/proc/self/net/tcp", "re");
    if (!table)
        return CANNOT_SAY;
    while (answer == NOT_HERE && fgets(line, sizeof line, table)) {
        unsigned near, near_port, far, far_port, uid;
        unsigned long inode;
        int count = sscanf(line, " %*d: %8x:%4x %8x:%4x %*x %*x:%*x %*x:%*x %*x %u %*d %lu", &near, &near_port, &far,
                           &far_port, &uid, &inode);
        if (count == 6 && near == theirs->sin_addr.s_addr && near_port == ntohs(theirs->sin_port)
            && far == ours->sin_addr.s_addr && far_port == ntohs(ours->sin_port)) {
            *owner = (struct owner){uid, inode};
            answer = FOUND;
        }
    }
    fclose(table);
    return answer;
}

enum answer find_owner(const end *theirs, const end *ours, struct owner *owner)
{
    enum answer answer = ask_kernel(theirs, ours, owner);
    return answer == CANNOT_SAY ? read_table(theirs, ours, owner) : answer;
}

static pid_t parent_of(pid_t pid)
{
    char path[64], text[512];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    const char *end_of_name = strrchr(text, ')');
    return end_of_name && sscanf(end_of_name, ") %*c %d", &parent) == 1 ? parent : 0;
}

static int descends_from(pid_t supervisor, pid_t pid)
{
    while (pid > 1 && pid != supervisor)
        pid = parent_of(pid);
    return pid == supervisor;
}

static int has_socket(const char *pid, unsigned long inode)
{
    char path[300], wanted[64], found[64];
    int has = 0;
    snprintf(wanted, sizeof wanted, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && !has && (entry = readdir(folder));) {
        ssize_t size = readlinkat(dirfd(folder), entry->d_name, found, sizeof found - 1);
        if (size > 0) {
            found[size] = 0;
            has = strcmp(found, wanted) == 0;
        }
    }
    if (folder)
        closedir(folder);
    return has;
}

int is_below(pid_t supervisor, unsigned long inode)
{
    int is_ours = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && !is_ours && (entry = readdir(all));)
        if (isdigit((unsigned char)*entry->d_name) && descends_from(supervisor, atoi(entry->d_name)))
            is_ours = has_socket(entry->d_name, inode);
    if (all)
        closedir(all);
    return is_ours;
}
