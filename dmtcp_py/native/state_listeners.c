/* TCP sockets that listen, which DMTCP (3.2, 4.2, 5.0) may give another port after a restart; part of the plugin
   `state`.

   After a program was killed, the kernel keeps its connections for a minute, and their ports with them: such a port can
   only be bound by a socket with SO_REUSEADDR. DMTCP sets the options of a socket when it has bound it. That fails, and
   what listens then is a port that the kernel chose, without a word. A port of several sockets with SO_REUSEPORT is
   bound by the first of them only. Here both options are set before, and afterwards to what they were. A port that
   cannot be had is found by the comparison: see check_listener(). */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <sys/socket.h>

#include "state.h"

#define MOST_FDS 4096
#define UNKNOWN (-1)

/* dmtcp::Connection::restoreDupFds(int): gives the connection the descriptor that was made for it, before bind() */
#define RESTORE "_ZN5dmtcp10Connection13restoreDupFdsEi"
void restore_descriptors(void *connection, int fd) __asm__(RESTORE);

static struct {
    int is_tcp, reuses_address, reuses_port, is_listening, port;
} known[MOST_FDS];
static int some_share_ports;
static __typeof__(restore_descriptors) *next;

static int option_of(int fd, int option)
{
    int value = 0;
    unsigned size = sizeof value;
    return RAW(SYS_getsockopt, fd, SOL_SOCKET, option, &value, &size) < 0 ? UNKNOWN : value;
}

static void set(int fd, int option, int value)
{
    RAW(SYS_setsockopt, fd, SOL_SOCKET, option, &value, sizeof value);
}

static int is_tcp(int fd)
{
    int domain = option_of(fd, SO_DOMAIN);
    return (domain == AF_INET || domain == AF_INET6) && option_of(fd, SO_TYPE) == SOCK_STREAM;
}

static int port_of(int fd)
{
    struct sockaddr_in6 address; /* the port of both families is at the same place */
    unsigned size = sizeof address;
    return RAW(SYS_getsockname, fd, &address, &size) < 0 ? UNKNOWN : ntohs(address.sin6_port);
}

/* While threads run: one that is suspended may hold the lock of the loader. */
void find_restore(void)
{
    if (!next)
        next = (__typeof__(next))next_function(RESTORE);
}

void forget_listeners(void)
{
    memset(known, 0, sizeof known);
    some_share_ports = 0;
}

void record_listener(int fd)
{
    if (!is_tcp(fd))
        return;
    known[fd].is_tcp = 1;
    known[fd].reuses_address = option_of(fd, SO_REUSEADDR);
    known[fd].reuses_port = option_of(fd, SO_REUSEPORT);
    known[fd].is_listening = option_of(fd, SO_ACCEPTCONN);
    known[fd].port = port_of(fd);
    some_share_ports |= known[fd].is_listening && known[fd].reuses_port;
}

__attribute__((visibility("default"))) void restore_descriptors(void *connection, int fd)
{
    if (is_tcp(fd)) {
        set(fd, SO_REUSEADDR, 1);
        if (some_share_ports)
            set(fd, SO_REUSEPORT, 1);
    }
    find_restore();
    next(connection, fd);
}

void put_back_listener(int fd)
{
    if (known[fd].is_tcp && is_tcp(fd)) {
        set(fd, SO_REUSEADDR, known[fd].reuses_address);
        set(fd, SO_REUSEPORT, known[fd].reuses_port);
    }
}

void check_listener(int fd)
{
    if (!known[fd].is_tcp)
        return;
    check("SO_REUSEADDR of descriptor", fd, known[fd].reuses_address, option_of(fd, SO_REUSEADDR));
    check("SO_REUSEPORT of descriptor", fd, known[fd].reuses_port, option_of(fd, SO_REUSEPORT));
    if (known[fd].is_listening == 1)
        check("port of the listening socket that is descriptor", fd, known[fd].port, port_of(fd));
}
