// idle PORT CONNECTIONS PID: what an idle connection costs a server, process PID. It opens all
// connections, lets each echo 64 bytes once, and prints by how much the server has grown:
//
//     RESULT bytes=<resident bytes per connection>
#include "loopback.h"

static int64_t resident(int pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *f = fopen(path, "r");
    must(f != NULL, path);
    long kb = -1;
    while (kb < 0 && fgets(line, sizeof line, f))
        sscanf(line, "VmRSS: %ld", &kb);
    fclose(f);
    return kb * 1024LL;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: idle PORT CONNECTIONS PID\n");
        return 2;
    }
    int port = atoi(argv[1]), n = atoi(argv[2]), pid = atoi(argv[3]);
    char b[64];
    memset(b, 'x', sizeof b);
    int64_t before = resident(pid);
    for (int i = 0; i < n; i++) {
        int fd = dial(port); // stays open until we exit
        must(send(fd, b, sizeof b, MSG_NOSIGNAL) == sizeof b, "send");
        must(recv(fd, b, sizeof b, MSG_WAITALL) == sizeof b, "receive");
    }
    sleep(1); // for what a server does after it has answered
    printf("RESULT bytes=%.1f\n", (double)(resident(pid) - before) / n);
}
