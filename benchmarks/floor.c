/* The floor: hands each line that one client sends to every client, with epoll and send(), and
 * does nothing else. No parsing, no names, no log, no bound on what waits: a line that a socket
 * does not take whole is dropped, so it is no chat server.
 *
 * cc -O2 -o floor floor.c; ./floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 20000 };
static int clients[MOST], count;

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))};
    struct epoll_event events[256], event = {.events = EPOLLIN};
    static char buffer[65536];

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        return perror("floor"), 1;
    int epoll = epoll_create1(0);
    event.data.fd = listener;
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0 || count == MOST) continue;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = client;
                epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
                clients[count++] = client;
                continue;
            }
            ssize_t size = read(fd, buffer, sizeof buffer);
            if (size <= 0) {
                for (int c = 0; c < count; c++)
                    if (clients[c] == fd) clients[c] = clients[--count];
                close(fd);
                continue;
            }
            for (int c = 0; c < count; c++)
                if (clients[c] != fd) send(clients[c], buffer, size, MSG_NOSIGNAL);
        }
    }
}
