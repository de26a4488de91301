// The raw epoll echo server: level-triggered, one thread, one shared read buffer. A connection
// that cannot be written right away keeps the rest in a buffer of its own and waits for EPOLLOUT.
#include "loopback.h"

typedef struct {
    int fd;
    char *rest;
    size_t off, len;
} conn;

static char buf[1 << 18];
static int ep;

static void drop(conn *c) {
    close(c->fd);
    free(c->rest);
    free(c);
}

static void watch(conn *c, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    must(epoll_ctl(ep, op, c->fd, &e) == 0, "epoll_ctl");
}

static void accept_all(int listener) {
    int one = 1;
    for (int fd; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

// Returns whether the connection is still good.
static int answer(conn *c, const char *p, size_t n) {
    while (n) {
        ssize_t w = send(c->fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EAGAIN) {
            c->rest = malloc(n);
            memcpy(c->rest, p, n);
            c->off = 0;
            c->len = n;
            watch(c, EPOLL_CTL_MOD, EPOLLOUT);
            return 1;
        }
        if (w < 0)
            return 0;
        p += w;
        n -= w;
    }
    return 1;
}

static int answer_rest(conn *c) {
    ssize_t w = send(c->fd, c->rest + c->off, c->len - c->off, MSG_NOSIGNAL);
    if (w < 0)
        return errno == EAGAIN;
    c->off += w;
    if (c->off == c->len) {
        free(c->rest);
        c->rest = NULL;
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
    return 1;
}

static int serve(conn *c) {
    if (c->rest)
        return answer_rest(c);
    ssize_t r = recv(c->fd, buf, sizeof buf, 0);
    if (r < 0)
        return errno == EAGAIN;
    return r > 0 && answer(c, buf, r);
}

void echo(int port) {
    int listener = listen_on(port);
    ep = epoll_create1(0);
    conn l = {.fd = listener};
    watch(&l, EPOLL_CTL_ADD, EPOLLIN);
    struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (c == &l)
                accept_all(listener);
            else if (!serve(c))
                drop(c);
        }
    }
}
