// The floor: what the kernel and a little C do, without a library above. Same form as the others.
//
//     floor echo PORT   raw epoll, see server.c
//     floor xrtt N      two threads: an eventfd and epoll one way, an eventfd the other way
//     floor xpost N     a queue with a mutex, and a wake-up when it was empty
//     floor timers N    a heap of N deadlines within a second, and no tasks
#include "loopback.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

void echo(int port);

static int wake, back, ep, n;

static void per(int64_t start) { printf("RESULT ns=%.1f\n", (double)(now_ns() - start) / n); }

static void ring(int fd) {
    uint64_t v = 1;
    must(write(fd, &v, 8) == 8, "write");
}

static void heard(int fd) {
    uint64_t v;
    must(read(fd, &v, 8) == 8, "read");
}

static void wait_for_wake(void) {
    struct epoll_event e;
    must(epoll_wait(ep, &e, 1, -1) == 1, "epoll_wait");
    heard(wake);
}

static void *ask(void *unused) {
    for (int i = 0; i < n; i++) {
        ring(wake);
        heard(back);
    }
    return unused;
}

static void xrtt(void) {
    pthread_t other;
    int64_t start = now_ns();
    pthread_create(&other, 0, ask, 0);
    for (int i = 0; i < n; i++) {
        wait_for_wake();
        ring(back);
    }
    pthread_join(other, 0);
    per(start);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void (**queue)(void);
static int queued, left;

static void callback(void) { left--; }

static void *post(void *unused) {
    for (int i = 0; i < n; i++) {
        pthread_mutex_lock(&mutex);
        queue[queued++] = callback;
        int first = queued == 1;
        pthread_mutex_unlock(&mutex);
        if (first)
            ring(wake);
    }
    return unused;
}

static void xpost(void) {
    void (**mine)(void) = malloc(sizeof *mine * n);
    queue = malloc(sizeof *queue * n);
    left = n;
    pthread_t other;
    int64_t start = now_ns();
    pthread_create(&other, 0, post, 0);
    while (left) {
        wait_for_wake();
        pthread_mutex_lock(&mutex);
        void (**taken)(void) = queue;
        int k = queued;
        queue = mine;
        queued = 0;
        pthread_mutex_unlock(&mutex);
        mine = taken;
        for (int i = 0; i < k; i++)
            mine[i]();
    }
    per(start);
    pthread_join(other, 0);
}

static int64_t *heap;
static int length;

static void heap_push(int64_t v) {
    int i = length++;
    for (; i && heap[(i - 1) / 2] > v; i = (i - 1) / 2)
        heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

static void heap_pop(void) {
    int64_t v = heap[--length];
    int i = 0;
    for (int c; (c = 2 * i + 1) < length; i = c) {
        if (c + 1 < length && heap[c + 1] < heap[c])
            c++;
        if (heap[c] >= v)
            break;
        heap[i] = heap[c];
    }
    heap[i] = v;
}

static int ascending(const void *x, const void *y) {
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

static int64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void timers(void) {
    heap = malloc(sizeof *heap * n);
    int64_t *late = malloc(sizeof *late * n), used = cpu_ns();
    int k = 0;
    srand(1);
    for (int i = 0; i < n; i++)
        heap_push(now_ns() + (int64_t)((double)rand() / RAND_MAX * 1e9));
    while (length) {
        int64_t wait = heap[0] - now_ns();
        if (wait > 0) {
            struct timespec t = {wait / 1000000000, wait % 1000000000};
            struct pollfd p = {.fd = ep, .events = POLLIN};
            ppoll(&p, 1, &t, 0);
        }
        int64_t now = now_ns();
        while (length && heap[0] <= now) {
            late[k++] = now - heap[0];
            heap_pop();
        }
    }
    used = cpu_ns() - used;
    qsort(late, n, sizeof *late, ascending);
    printf("RESULT ns=%.1f late50=%.1f late99=%.1f\n", (double)used / n, late[n / 2] / 1e3,
           late[(int64_t)n * 99 / 100] / 1e3);
}

static void serve(void) { echo(n); }

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } workloads[] = {{"echo", serve}, {"xrtt", xrtt}, {"xpost", xpost}, {"timers", timers}};
    size_t i = 0, all = sizeof workloads / sizeof *workloads;
    if (argc < 2) {
        fprintf(stderr, "usage: floor WORKLOAD ARGS...\n");
        return 2;
    }
    while (i < all && strcmp(argv[1], workloads[i].name))
        i++;
    if (i == all)
        return 3;
    n = argc > 2 ? atoi(argv[2]) : 0;
    if (n <= 0) {
        fprintf(stderr, "floor: an argument is missing\n");
        return 2;
    }
    wake = eventfd(0, EFD_NONBLOCK);
    back = eventfd(0, 0);
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN};
    must(epoll_ctl(ep, EPOLL_CTL_ADD, wake, &e) == 0, "epoll_ctl");
    workloads[i].run();
}
