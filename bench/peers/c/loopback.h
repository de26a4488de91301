// What the programs in C share: a clock, sockets on loopback, and what another process has used.
#ifndef LOOPBACK_H
#define LOOPBACK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

// CPU time that another process has used so far, in all its threads. The clock of a
// process counts nanoseconds, where /proc/PID/stat counts hundredths of a second.
static inline int64_t cpu_of_ns(int pid) {
    struct timespec t;
    clockid_t id;
    if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &t)) {
        fprintf(stderr, "there is no process %d\n", pid);
        exit(1);
    }
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static inline void must(int holds, const char *what) {
    if (!holds) {
        perror(what);
        exit(1);
    }
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static inline int listen_on(int port) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    must(s >= 0, "socket");
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = loopback(port);
    must(bind(s, (void *)&a, sizeof a) == 0, "bind");
    must(listen(s, 4096) == 0, "listen");
    return s;
}

// A connection that blocks.
static inline int dial(int port) {
    int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    must(s >= 0, "socket");
    struct sockaddr_in a = loopback(port);
    must(connect(s, (void *)&a, sizeof a) == 0, "connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct timeval limit = {10, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return s;
}
#endif
