// client PORT CONNECTIONS SIZE WARM SECONDS PID: loads an echo server. Each connection has one
// message under way, and sends the next when the last byte of the answer is there. It never
// blocks in send, so that large messages cannot deadlock. After WARM seconds it counts for
// SECONDS, and prints what the server, process PID, used:
//
//     RESULT cpu=<us of CPU time per request> reqs=<requests per second> busy=<share of a core>
//
// Built with -DTLS it speaks TLS 1.3, always with AES-128-GCM.
#include "loopback.h"
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

typedef struct {
    int fd, got, sent;
#ifdef TLS
    SSL *ssl;
#endif
} conn;

static int size;
static char *message;
static char answer[1 << 18];

#ifdef TLS
static void open_tls(conn *c) {
    static SSL_CTX *context;
    if (!context) {
        context = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(context, 1);
    }
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

// What SSL_read and SSL_write return, as recv and send would tell it.
static ssize_t told(conn *c, int n) {
    if (n > 0)
        return n;
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else if (why == SSL_ERROR_SSL)
        errno = EPROTO;
    return -1;
}
static ssize_t put(conn *c, const char *p, int n) { return told(c, SSL_write(c->ssl, p, n)); }
static ssize_t take(conn *c, char *p, int n) { return told(c, SSL_read(c->ssl, p, n)); }
#else
static ssize_t put(conn *c, const char *p, int n) { return send(c->fd, p, n, MSG_NOSIGNAL); }
static ssize_t take(conn *c, char *p, int n) { return recv(c->fd, p, n, 0); }
#endif

static void push(conn *c) {
    while (c->sent < size) {
        ssize_t n = put(c, message + c->sent, size - c->sent);
        if (n < 0 && errno == EAGAIN)
            return;
        must(n > 0, "send");
        c->sent += n;
    }
}

// Returns whether the answer is complete; the next message is then on its way.
static int pull(conn *c) {
    for (;;) {
        ssize_t n = take(c, answer, sizeof answer);
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n == 0)
            errno = ECONNRESET;
        must(n > 0, "receive");
        c->got += n;
        if (c->got > size) {
            fprintf(stderr, "the answer is longer than the message\n");
            exit(1);
        }
        if (c->got == size) {
            c->got = c->sent = 0;
            push(c);
            return 1; // edge-triggered: the next answer is a new edge
        }
        push(c);
    }
}

int main(int argc, char **argv) {
    if (argc < 7) {
        fprintf(stderr, "usage: client PORT CONNECTIONS SIZE WARM SECONDS PID\n");
        return 2;
    }
    int port = atoi(argv[1]), n = atoi(argv[2]), pid = atoi(argv[6]);
    size = atoi(argv[3]);
    message = malloc(size);
    memset(message, 'x', size);
    conn *conns = calloc(n, sizeof *conns);
    int ep = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        conn *c = &conns[i];
        c->fd = dial(port);
#ifdef TLS
        open_tls(c);
#endif
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        must(epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e) == 0, "epoll_ctl");
    }
    for (int i = 0; i < n; i++)
        push(&conns[i]);
    int64_t start = now_ns() + (int64_t)(atof(argv[4]) * 1e9), end = start + (int64_t)(atof(argv[5]) * 1e9);
    int64_t began = 0, used = 0, requests = 0, t;
    struct epoll_event events[1024];
    while ((t = now_ns()) < end) {
        if (!began && t >= start) {
            began = t;
            used = cpu_of_ns(pid);
            requests = 0;
        }
        int k = epoll_wait(ep, events, 1024, 100);
        for (int i = 0; i < k; i++) {
            push(events[i].data.ptr);
            requests += pull(events[i].data.ptr);
        }
    }
    used = cpu_of_ns(pid) - used;
    if (!began || !requests) { // or we have stood still all the time
        fprintf(stderr, "the server answers nothing\n");
        return 1;
    }
    double seconds = (t - began) / 1e9;
    printf("RESULT cpu=%.3f reqs=%.0f busy=%.3f\n", used / 1e3 / requests, requests / seconds, used / 1e9 / seconds);
}
