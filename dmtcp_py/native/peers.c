/* Which processes DMTCP's coordinator (3.2, 4.2, 5.0) talks to; loaded into dmtcp_coordinator alone.

   By itself the coordinator listens on all interfaces and obeys whoever connects: any user could checkpoint, kill or
   join the computation. Here it listens on one address, and admits connections of its own user only. Workers and
   dmtcp_command are as they are.

   The kernel knows whose socket the other end of a connection is, if that is on this host: sock_diag(7) says so, or
   /proc/net/tcp where there is no sock_diag. A socket that its process has closed belongs to nobody, and is refused:
   otherwise a message could be sent and the sender be gone before it is looked for. The other end on another node of
   the computation is asked for through dmtcp-run, whose agent there looks (nodes/peers.py).

   As root, a process of another user is admitted if it is one of the computation that has given up its privileges. */

#define _DEFAULT_SOURCE
#include "peers.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ADDRESS "DMTCP_RUN_LISTEN" /* the address to listen on */
#define ASK "DMTCP_RUN_PEERS"      /* the number of a socket, at whose other end dmtcp-run knows about other nodes */
#define MOST_REFUSALS_SAID 10

static int is_on;
static uid_t me;
static pid_t supervisor;

__attribute__((constructor)) static void begin(void)
{
    me = geteuid();
    supervisor = getppid();
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char text[256];
    va_list given;
    va_start(given, format);
    int size = vsnprintf(text, sizeof text, format, given);
    va_end(given);
    if (size > 0 && write(2, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1) < 0)
        return; /* nobody reads the log any more */
}

static int is_on_another_node(const end *theirs, const end *ours)
{
    const char *number = getenv(ASK);
    char text[128], near[INET_ADDRSTRLEN], far[INET_ADDRSTRLEN], answer = 0;

    if (!number)
        return 0;
    inet_ntop(AF_INET, &theirs->sin_addr, near, sizeof near);
    inet_ntop(AF_INET, &ours->sin_addr, far, sizeof far);
    int size = snprintf(text, sizeof text, "%s %d %s %d", near, ntohs(theirs->sin_port), far, ntohs(ours->sin_port));
    if (send(atoi(number), text, (size_t)size, MSG_NOSIGNAL) == size)
        while (recv(atoi(number), &answer, 1, 0) < 0 && errno == EINTR)
            ;
    return answer == '1';
}

static int is_admitted(const end *theirs, const end *ours)
{
    static int refusals;
    struct owner owner = {0, 0};
    enum answer answer = find_owner(theirs, ours, &owner);

    if (answer == FOUND && owner.inode && (owner.uid == me || (me == 0 && is_below(supervisor, owner.inode))))
        return 1;
    if (answer == NOT_HERE && is_on_another_node(theirs, ours))
        return 1;
    if (refusals++ < MOST_REFUSALS_SAID) {
        char address[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &theirs->sin_addr, address, sizeof address);
        if (answer == FOUND && owner.inode)
            say("dmtcp-run: refused a connection from %s of user %u\n", address, owner.uid);
        else
            say("dmtcp-run: refused a connection from %s of nobody known\n", address);
    }
    return 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t size)
{
    const char *name = getenv(ADDRESS);
    end given;
    if (name && size >= sizeof given && address->sa_family == AF_INET) {
        memcpy(&given, address, sizeof given);
        if (given.sin_addr.s_addr == htonl(INADDR_ANY) && inet_pton(AF_INET, name, &given.sin_addr) == 1)
            return (int)syscall(SYS_bind, fd, &given, sizeof given);
    }
    return (int)syscall(SYS_bind, fd, address, size);
}

/* Accept connections at FD until there is the one from OURS; return it. */
static int accept_own(int fd, const end *mine)
{
    for (;;) {
        end theirs = {0};
        socklen_t size = sizeof theirs;
        int made = (int)syscall(SYS_accept4, fd, &theirs, &size, SOCK_CLOEXEC);
        if (made < 0 && errno != EINTR)
            return -1;
        if (made >= 0 && theirs.sin_port == mine->sin_port && theirs.sin_addr.s_addr == mine->sin_addr.s_addr)
            return made;
        if (made >= 0)
            close(made);
    }
}

/* Whether a connection of our own to FD is seen to be our own. */
static int can_tell(int fd)
{
    end ours = {0}, mine = {0};
    socklen_t size = sizeof ours;
    struct owner owner = {0, 0};
    int can = 0, made = -1, own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (own < 0 || getsockname(fd, (struct sockaddr *)&ours, &size) < 0 || ours.sin_family != AF_INET)
        goto out;
    if (ours.sin_addr.s_addr == htonl(INADDR_ANY))
        ours.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(own, (struct sockaddr *)&ours, sizeof ours) < 0)
        goto out;
    size = sizeof mine;
    if (getsockname(own, (struct sockaddr *)&mine, &size) == 0 && (made = accept_own(fd, &mine)) >= 0)
        can = find_owner(&mine, &ours, &owner) == FOUND && owner.inode && owner.uid == me;
out:
    if (made >= 0)
        close(made);
    if (own >= 0)
        close(own);
    return can;
}

int listen(int fd, int backlog)
{
    int failed = (int)syscall(SYS_listen, fd, backlog), error = errno;
    if (!failed) {
        /* inherited by the connections: DMTCP writes a message in parts, and each would wait for the answer to delay */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        is_on = can_tell(fd);
        say(is_on ? "dmtcp-run: admits user %u only\n" : "dmtcp-run: admits everybody, not only user %u\n", me);
    }
    errno = error;
    return failed;
}

int accept(int fd, struct sockaddr *address, socklen_t *size)
{
    end theirs = {0}, ours = {0};
    socklen_t theirs_size = sizeof theirs, ours_size = sizeof ours;
    int made = (int)syscall(SYS_accept4, fd, address, size, 0);

    if (made < 0 || !is_on)
        return made;
    if (getpeername(made, (struct sockaddr *)&theirs, &theirs_size) == 0
        && getsockname(made, (struct sockaddr *)&ours, &ours_size) == 0 && is_admitted(&theirs, &ours))
        return made;
    close(made);
    errno = ECONNABORTED;
    return -1;
}
