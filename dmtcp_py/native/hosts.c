/* What a computation over several hosts needs from DMTCP (3.2, 4.2, 5.0) and does not get; loaded into it as a plugin.

   The barrier "Socket::Drain" holds for one host only. The host whose sockets are drained first goes on and sends its
   handshakes; the other host treats them as data that is still to be drained, and the checkpoint hangs. Here that
   barrier holds for all hosts.

   At a restart each process publishes the address of its listener in the coordinator's key-value store: 0.0.0.0, which
   every host takes for itself. Here it is the address by which the coordinator knows the host.

   At a restart both ends of a connection write back at once what was on its way, and neither reads before it has
   written: if that does not fit, they wait for each other for ever. Here no connection accepts more than can be written
   back, and while it is written back its buffers are as large as the kernel allows.

   Streams over IPv4 only. All three depend on DMTCP's internals: whether they work is tested for each build of DMTCP
   (engine/dmtcp/selftest.py). For that test, what was done is appended to the file DMTCP_RUN_HOSTS_REPORT. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ID "/plugin/socket/rst"
#define BARRIER "Socket::Drain"
#define HUGE (1 << 29)
#define LARGEST (1 << 19)
#define MOST 65536

void dmtcp_global_barrier(const char *barrier) __attribute__((weak));
void dmtcp_get_local_ip_addr(struct in_addr *address) __attribute__((weak));

/* libstdc++'s std::string, with any allocator: the fields that are read here come first, the rest is never changed */
struct string {
    const char *data;
    size_t length;
    char rest[16];
};

/* dmtcp::kvdb::set(id, key, value, old) */
#define KVDB_SET                                                                                                       \
    "_ZN5dmtcp4kvdb3setERKNSt7__cxx1112basic_stringIcSt11char_traitsIcENS_10DmtcpAllocIcEEEES9_S9_PS7_"
int kvdb_set(const struct string *id, const struct string *key, const struct string *value, void *old) __asm__(KVDB_SET);
void scale_send_buffers(int fd, double factor) __asm__("_Z16scaleSendBuffersid");
void dmtcp_local_barrier(const char *barrier);

/* DMTCP's library with the symbol KNOWN. As in forks.c: dlsym(RTLD_NEXT) is DMTCP's own up to 4.2, and dlopen() in a
   constructor locks the loader. */
static void *library_with(const char *known)
{
    Dl_info found;
    void *symbol = dlsym(RTLD_DEFAULT, known);
    return symbol && dladdr(symbol, &found) ? dlopen(found.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : NULL;
}

static void *below(const char *name)
{
    static void *dmtcp;
    if (!dmtcp)
        dmtcp = library_with("dmtcp_get_ckpt_signal");
    return dlsym(dmtcp ? dmtcp : RTLD_NEXT, name);
}

/* up to 4.2 another library wraps sockets */
static void *below_of_sockets(const char *name)
{
    static void *sockets;
    if (!sockets)
        sockets = library_with("_ZN5dmtcp19KernelBufferDrainer16refillAllSocketsEv");
    return dlsym(sockets ? sockets : RTLD_NEXT, name);
}

/* for calls that DMTCP must not see */
static void *in_libc(const char *name)
{
    static void *libc;
    if (!libc)
        libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    return dlsym(libc ? libc : RTLD_NEXT, name);
}

#define FIND(next, like, where, name)         \
    static __typeof__(like) *next;            \
    if (!next)                                \
        next = (__typeof__(like) *)where(name)

static void report(const char *what, const char *from, const char *to)
{
    FIND(do_open, open, in_libc, "open");
    FIND(do_write, write, in_libc, "write");
    FIND(do_close, close, in_libc, "close");
    const char *path = getenv("DMTCP_RUN_HOSTS_REPORT");
    char line[128];
    if (!path)
        return;
    int length = snprintf(line, sizeof line, "%s %s %s\n", what, from, to);
    int fd = do_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        if (do_write(fd, line, (size_t)length) < 0)
            perror(path);
        do_close(fd);
    }
}

void dmtcp_local_barrier(const char *barrier)
{
    FIND(next, dmtcp_local_barrier, below, "dmtcp_local_barrier");
    if (strcmp(barrier, BARRIER) != 0 || !dmtcp_global_barrier) {
        next(barrier);
        return;
    }
    dmtcp_global_barrier(barrier);
    report("barrier", barrier, "global");
}

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* Decode base 64 as DMTCP writes it, padded with dots. Return the number of bytes; -1 if the text is anything else. */
static int decode(const struct string *text, unsigned char *bytes, size_t most)
{
    size_t count = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < text->length; i++) {
        const char *digit = text->data[i] ? strchr(digits, text->data[i]) : NULL;
        if (text->data[i] == '.' && i + 2 >= text->length)
            break;
        if (!digit)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - digits);
        if (i % 4 != 0) {
            if (count == most)
                return -1;
            bytes[count++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    return (int)count;
}

static size_t encode(const unsigned char *bytes, size_t count, char *text)
{
    size_t length = 0;
    for (size_t i = 0; i < count; i += 3) {
        uint32_t bits = (uint32_t)bytes[i] << 16;
        bits |= i + 1 < count ? (uint32_t)bytes[i + 1] << 8 : 0;
        bits |= i + 2 < count ? bytes[i + 2] : 0;
        for (int shift = 18; shift >= 0; shift -= 6)
            text[length++] = digits[bits >> shift & 63];
        for (size_t lacking = i + 3; lacking > count; lacking--)
            text[length - (lacking - count)] = '.';
    }
    return length;
}

/* Whether the address is this host's. A coordinator that is reached by a loopback address resolves the host's name,
   which may lead to another host. */
static int is_ours(struct sockaddr_in address)
{
    FIND(make, socket, in_libc, "socket");
    FIND(take, bind, in_libc, "bind");
    FIND(drop, close, in_libc, "close");
    int fd = make(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_port = 0;
    int is = fd >= 0 && take(fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0)
        drop(fd);
    return is;
}

int kvdb_set(const struct string *id, const struct string *key, const struct string *value, void *old)
{
    FIND(next, kvdb_set, below, KVDB_SET);
    struct sockaddr_in address;
    char text[4 * sizeof address], from[INET_ADDRSTRLEN], to[INET_ADDRSTRLEN];
    if (id->length != strlen(ID) || memcmp(id->data, ID, id->length) != 0 || !dmtcp_get_local_ip_addr ||
        decode(value, (unsigned char *)&address, sizeof address) != sizeof address ||
        address.sin_family != AF_INET || address.sin_addr.s_addr != htonl(INADDR_ANY))
        return next(id, key, value, old);
    inet_ntop(AF_INET, &address.sin_addr, from, sizeof from);
    dmtcp_get_local_ip_addr(&address.sin_addr);
    if (!is_ours(address))
        return next(id, key, value, old);
    inet_ntop(AF_INET, &address.sin_addr, to, sizeof to);
    struct string known = {text, encode((unsigned char *)&address, sizeof address, text), ""};
    text[known.length] = 0;
    report("listener", from, to);
    return next(id, key, &known, old);
}

/* The kernel doubles the size that is set, and returns the double. */
static int size_of(int fd, int option)
{
    int size = 0;
    socklen_t length = sizeof size;
    return getsockopt(fd, SOL_SOCKET, option, &size, &length) == 0 ? size / 2 : 0;
}

static void resize(int fd, int option, int size)
{
    FIND(next, setsockopt, in_libc, "setsockopt");
    next(fd, SOL_SOCKET, option, &size, sizeof size);
}

static int is_tcp(int fd)
{
    int domain = 0, type = 0;
    socklen_t length = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && (domain == AF_INET || domain == AF_INET6) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM;
}

/* Return the limit for each buffer: what the two buffers of a direction held, for both directions, must fit into the
   largest send buffer that the kernel allows. Then no end waits for the other while it writes back. */
static int limit(int fd)
{
    static int known;
    if (!known) {
        int send = size_of(fd, SO_SNDBUF), receive = size_of(fd, SO_RCVBUF);
        resize(fd, SO_SNDBUF, HUGE);
        resize(fd, SO_RCVBUF, HUGE);
        int most = size_of(fd, SO_SNDBUF) < size_of(fd, SO_RCVBUF) ? size_of(fd, SO_SNDBUF) : size_of(fd, SO_RCVBUF);
        resize(fd, SO_SNDBUF, send);
        resize(fd, SO_RCVBUF, receive);
        known = most / 4 < LARGEST ? most / 4 : LARGEST;
    }
    return known;
}

int socket(int domain, int type, int protocol)
{
    FIND(next, socket, below_of_sockets, "socket");
    FIND(set, setsockopt, below_of_sockets, "setsockopt");
    int fd = next(domain, type, protocol);
    if (fd >= 0 && is_tcp(fd)) {
        int size = limit(fd);
        set(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        set(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
    return fd;
}

int setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    FIND(next, setsockopt, below_of_sockets, "setsockopt");
    int is_size = level == SOL_SOCKET && (option == SO_SNDBUF || option == SO_RCVBUF || option == SO_SNDBUFFORCE ||
                                          option == SO_RCVBUFFORCE);
    if (is_size && length >= sizeof(int) && is_tcp(fd) && *(const int *)value > limit(fd)) {
        int size = limit(fd);
        return next(fd, level, option, &size, sizeof size);
    }
    return next(fd, level, option, value, length);
}

/* DMTCP calls it with 2 before it writes back what was on its way, and with 0.5 afterwards. */
void scale_send_buffers(int fd, double factor)
{
    static int sends[MOST], receives[MOST];
    int send = size_of(fd, SO_SNDBUF), receive = size_of(fd, SO_RCVBUF);
    if (fd < 0 || fd >= MOST || !is_tcp(fd)) {
        resize(fd, SO_SNDBUF, (int)(send * factor));
        return;
    }
    if (factor > 1) {
        sends[fd] = send < limit(fd) ? send : limit(fd);
        receives[fd] = receive < limit(fd) ? receive : limit(fd);
    }
    resize(fd, SO_SNDBUF, factor > 1 ? HUGE : sends[fd]);
    resize(fd, SO_RCVBUF, factor > 1 ? HUGE : receives[fd]);
    if (factor > 1)
        report("buffers", send <= limit(fd) ? "capped" : "free", size_of(fd, SO_SNDBUF) > limit(fd) ? "opened" : "same");
}
