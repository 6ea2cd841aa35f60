/* Sessions and reflector on loopback: real sockets, real time, no root. P4, P6. */
#include "base/clock.h"
#include "check.h"
#include "sources/stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const uint8_t key[DOG_STAMP_KEY_SIZE] = "loopback";

struct live {
        size_t answered, lost;
        double rtt_ms;
};

static void live_seen(void *user, const struct dog_stamp_seen *seen)
{
        struct live *l = user;
        bool is_lost = seen->sample.value[DOG_SIGNAL_LOSS] > 0;
        l->lost += is_lost;
        l->answered += !is_lost;
        if (!is_lost && seen->sample.value[DOG_SIGNAL_RTT] > l->rtt_ms)
                l->rtt_ms = seen->sample.value[DOG_SIGNAL_RTT];
}

/* "127.0.0.1" or "::1"; port 0: any. */
static socklen_t live_address(const char *text, uint16_t port, struct sockaddr_storage *a)
{
        *a = (struct sockaddr_storage){0};
        struct sockaddr_in *v4 = (struct sockaddr_in *)a;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
        if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = port;
                return sizeof(*v4);
        }
        *a = (struct sockaddr_storage){0};
        NEED(inet_pton(AF_INET6, text, &v6->sin6_addr) == 1, "%s", text);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = port;
        return sizeof(*v6);
}

static int live_bound(const char *text, uint16_t *port)
{
        struct sockaddr_storage a;
        socklen_t size = live_address(text, 0, &a);
        int fd = socket(a.ss_family, SOCK_DGRAM, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&a, size) < 0) {
                if (fd >= 0)
                        close(fd);
                return -1;
        }
        size = sizeof(a);
        getsockname(fd, (struct sockaddr *)&a, &size);
        *port = a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                        : ((struct sockaddr_in *)&a)->sin_port;
        return fd;
}

static int live_connected(const char *from, const char *to, uint16_t port)
{
        uint16_t own;
        struct sockaddr_storage a;
        int fd = live_bound(from, &own);
        socklen_t size = live_address(to, port, &a);
        NEED(fd >= 0 && connect(fd, (struct sockaddr *)&a, size) == 0, "%s to %s", from, to);
        return fd;
}

static void live_run(struct dog_stamp_session *s, struct dog_stamp_reflector *r, size_t probes)
{
        int64_t limit_ns = dog_clock_mono_ns() + 20 * DOG_S;
        const struct dog_stamp_session_stats *st = dog_stamp_session_stats(s);
        struct pollfd p[2] = {{.fd = dog_stamp_session_fd(s), .events = POLLIN},
                              {.fd = r ? dog_stamp_reflector_fd(r) : -1, .events = POLLIN}};
        while (st->answered + st->lost < probes && dog_clock_mono_ns() < limit_ns) {
                int64_t next_ns = dog_stamp_session_on_timer(s, dog_clock_mono_ns());
                int64_t wait_ms = (next_ns - dog_clock_mono_ns()) / DOG_MS + 1;
                poll(p, 2, wait_ms > 0 ? (int)wait_ms : 0);
                if (r)
                        dog_stamp_reflector_on_readable(r, dog_clock_mono_ns());
                dog_stamp_session_on_readable(s, dog_clock_mono_ns());
        }
}

static void live_pair(const char *bound, const char *from, const char *to)
{
        uint16_t port;
        struct dog_err e = {0};
        struct live live = {0};
        struct dog_stamp_session *s;
        struct dog_stamp_reflector *r;
        int far = live_bound(bound, &port);
        if (far < 0)
                SKIP("this machine has no %s", bound);
        int near = live_connected(from, to, port);
        struct dog_stamp_reflector_conf rc = {.fd = far, .key = key, .is_stateful = true};
        struct dog_stamp_session_conf sc = {
                .fd = near, .key = key, .interval_ns = 5 * DOG_MS, .seen = live_seen, .user = &live};
        NEED(dog_stamp_reflector_new(&r, &rc, &e) == 0, "%s", e.text);
        NEED(dog_stamp_session_new(&s, &sc, &e) == 0, "%s", e.text);
        live_run(s, r, 50);
        OK(live.answered == 50 && live.lost == 0, "%s to %s: %zu answered, %zu lost", from, to, live.answered,
           live.lost);
        OK(live.rtt_ms < 50, "the slowest took %g ms", live.rtt_ms);
        OK(dog_stamp_reflector_stats(r)->sessions == 1, "one session there");

        int other = live_connected(from, to, port);
        OK(dog_stamp_session_fd_set(s, other, &e) == 0, "%s", e.text);
        close(near);
        live_run(s, r, 60);
        OK(live.answered + live.lost >= 60 && live.lost <= 1, "goes on over another socket: %zu lost",
           live.lost);
        OK(dog_stamp_reflector_stats(r)->sessions == 2, "another port is another session there");
        dog_stamp_session_free(s);
        dog_stamp_reflector_free(r);
        close(other);
        close(far);
}

static void P4_loopback_is_measured_over_ipv4(void)
{
        live_pair("127.0.0.1", "127.0.0.1", "127.0.0.1");
}

static void P4_loopback_is_measured_over_ipv6(void)
{
        live_pair("::1", "::1", "::1");
}

/* The session's socket is connected: an answer from another address would never be seen. */
static void an_answer_leaves_from_the_address_that_was_asked(void)
{
        live_pair("0.0.0.0", "127.0.0.1", "127.9.8.7");
        live_pair("::", "127.0.0.1", "127.9.8.7");
}

static void P4_a_closed_port_is_loss_and_no_error(void)
{
        uint16_t port;
        struct dog_err e = {0};
        struct live live = {0};
        struct dog_stamp_session *s;
        int far = live_bound("127.0.0.1", &port);
        int near = live_connected("127.0.0.1", "127.0.0.1", port);
        close(far);
        struct dog_stamp_session_conf sc = {.fd = near,
                                            .interval_ns = 20 * DOG_MS,
                                            .timeout_ns = 50 * DOG_MS,
                                            .seen = live_seen,
                                            .user = &live};
        NEED(dog_stamp_session_new(&s, &sc, &e) == 0, "%s", e.text);
        live_run(s, NULL, 5);
        OK(live.lost >= 5 && live.answered == 0, "lost %zu", live.lost);
        dog_stamp_session_free(s);
        close(near);
}

/* Kernel arrival times: 60 ms asleep with an answer in the socket are not 60 ms of round trip. */
static void P4_a_busy_owner_does_not_make_a_path_slow(void)
{
        uint16_t port;
        struct dog_err e = {0};
        struct live live = {0};
        struct dog_stamp_session *s;
        struct dog_stamp_reflector *r;
        int far = live_bound("127.0.0.1", &port);
        int near = live_connected("127.0.0.1", "127.0.0.1", port);
        struct dog_stamp_reflector_conf rc = {.fd = far};
        struct dog_stamp_session_conf sc = {
                .fd = near, .interval_ns = 20 * DOG_MS, .seen = live_seen, .user = &live};
        NEED(dog_stamp_reflector_new(&r, &rc, &e) == 0 && dog_stamp_session_new(&s, &sc, &e) == 0, "%s",
             e.text);
        for (int i = 0; i < 5; i++) {
                dog_stamp_session_on_timer(s, dog_clock_mono_ns());
                usleep(60000); /* the far end is busy too: what waits there is told by T2 and T3 */
                dog_stamp_reflector_on_readable(r, dog_clock_mono_ns());
        }
        usleep(60000);
        dog_stamp_session_on_readable(s, dog_clock_mono_ns());
        OK(live.answered >= 5 && live.lost == 0, "%zu answered", live.answered);
        OK(live.rtt_ms < 20, "the slowest round trip was %g ms", live.rtt_ms);
        dog_stamp_session_free(s);
        dog_stamp_reflector_free(r);
        close(near);
        close(far);
}

int main(void)
{
        return CHECK_RUN(TEST(P4_loopback_is_measured_over_ipv4), TEST(P4_loopback_is_measured_over_ipv6),
                         TEST(an_answer_leaves_from_the_address_that_was_asked),
                         TEST(P4_a_closed_port_is_loss_and_no_error),
                         TEST(P4_a_busy_owner_does_not_make_a_path_slow));
}
