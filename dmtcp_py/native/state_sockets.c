/* Options of sockets; part of the plugin `state`.

   DMTCP (3.2, 4.2, 5.0) remembers the options that a process has set, and gives them to a socket after the restart. Of
   several processes with the same socket one does so, which may know less than another: a child that was there before
   its parent set an option. So the options are asked of the kernel here. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "state.h"

#define MOST_SOCKETS 4096
#define BYTES 16 /* of the largest value, a struct timeval */
#define BUFFER_LOCKS 72 /* SO_BUF_LOCK: which of the two sizes the program has chosen */
#define ANY (-1)

static const struct option {
    int domain, type, level, name;
} options[] = {
    { ANY, ANY, SOL_SOCKET, SO_KEEPALIVE },
    { ANY, ANY, SOL_SOCKET, SO_LINGER },
    { ANY, ANY, SOL_SOCKET, SO_OOBINLINE },
    { ANY, ANY, SOL_SOCKET, SO_RCVLOWAT },
    { ANY, ANY, SOL_SOCKET, SO_RCVTIMEO },
    { ANY, ANY, SOL_SOCKET, SO_SNDTIMEO },
    { ANY, ANY, SOL_SOCKET, SO_PRIORITY },
    { ANY, ANY, SOL_SOCKET, SO_BROADCAST },
    { ANY, ANY, SOL_SOCKET, SO_DONTROUTE },
    { ANY, ANY, SOL_SOCKET, SO_TIMESTAMP },
    { AF_UNIX, ANY, SOL_SOCKET, SO_PASSCRED },
    { AF_UNIX, ANY, SOL_SOCKET, SO_PEEK_OFF },
    { AF_INET, ANY, IPPROTO_IP, IP_TOS },
    { AF_INET, ANY, IPPROTO_IP, IP_TTL },
    { AF_INET6, ANY, IPPROTO_IPV6, IPV6_TCLASS },
    { AF_INET6, ANY, IPPROTO_IPV6, IPV6_UNICAST_HOPS },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_CORK },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPIDLE },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPINTVL },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_KEEPCNT },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_USER_TIMEOUT },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_DEFER_ACCEPT },
    { AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_LINGER2 },
    { ANY, ANY, SOL_SOCKET, SO_RCVBUF },
    { ANY, ANY, SOL_SOCKET, SO_SNDBUF },
};
#define OPTIONS (sizeof options / sizeof *options)

struct value {
    unsigned size; /* 0 if this socket has no such option */
    char bytes[BYTES];
};

static struct {
    int fd, buffer_locks;
    struct value values[OPTIONS];
} known[MOST_SOCKETS];
static int count;

static int number_of(int fd, int name)
{
    int value = 0;
    unsigned size = sizeof value;
    return RAW(SYS_getsockopt, fd, SOL_SOCKET, name, &value, &size) < 0 ? 0 : value;
}

static int is_for(const struct option *one, int domain, int type)
{
    int is_tcp6 = one->level == IPPROTO_TCP && domain == AF_INET6;
    return (one->domain == ANY || one->domain == domain || is_tcp6) && (one->type == ANY || one->type == type);
}

static struct value value_of(int fd, const struct option *one)
{
    struct value found = { sizeof found.bytes, { 0 } };
    if (RAW(SYS_getsockopt, fd, one->level, one->name, found.bytes, &found.size) < 0)
        found.size = 0;
    return found;
}

/* What the kernel says of a size is twice what it was told. The sizes that it chooses change all the time. */
static int is_chosen_by_kernel(const struct option *one, int locks)
{
    return one->level == SOL_SOCKET && ((one->name == SO_RCVBUF && !(locks & 2)) || (one->name == SO_SNDBUF && !(locks & 1)));
}

static void set(int fd, const struct option *one, const struct value *wanted)
{
    int is_size = one->level == SOL_SOCKET && (one->name == SO_RCVBUF || one->name == SO_SNDBUF), half;
    memcpy(&half, wanted->bytes, sizeof half);
    half /= 2;
    RAW(SYS_setsockopt, fd, one->level, one->name, is_size ? (const void *)&half : wanted->bytes, wanted->size);
}

void forget_sockets(void)
{
    count = 0;
}

void record_socket(int fd)
{
    int domain = number_of(fd, SO_DOMAIN), type = number_of(fd, SO_TYPE);
    if (count == MOST_SOCKETS)
        return;
    known[count].fd = fd;
    known[count].buffer_locks = number_of(fd, BUFFER_LOCKS);
    for (size_t i = 0; i < OPTIONS; i++) {
        int is_known = is_for(&options[i], domain, type) && !is_chosen_by_kernel(&options[i], known[count].buffer_locks);
        known[count].values[i] = is_known ? value_of(fd, &options[i]) : (struct value){ 0 };
    }
    count++;
}

void put_back_sockets(void)
{
    for (int at = 0; at < count; at++)
        for (size_t i = 0; i < OPTIONS; i++) {
            const struct value *was = &known[at].values[i];
            struct value is = value_of(known[at].fd, &options[i]);
            if (was->size && is.size && memcmp(was->bytes, is.bytes, was->size) != 0)
                set(known[at].fd, &options[i], was);
        }
}

void check_sockets(void)
{
    for (int at = 0; at < count; at++) {
        int different = 0;
        for (size_t i = 0; i < OPTIONS; i++) {
            const struct value *was = &known[at].values[i];
            struct value is = value_of(known[at].fd, &options[i]);
            if (was->size && is.size && memcmp(was->bytes, is.bytes, was->size) != 0)
                different = options[i].level << 16 | options[i].name;
        }
        check("option of the socket that is descriptor", known[at].fd, 0, different);
    }
}
