/* Two fronts of a pair: what either knows of protected connections, the other knows too (I9, I13). The clock
   is invented, the network is a pair of sockets on which datagrams are lost, doubled and kept for later. */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "check.h"
#include "kinds/instance/pair.h"
#include "wire/pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TABLE = 4096 };

struct end {
        struct instance_pair *pair;
        struct instance_flow flow[TABLE];
        struct instance_conn conn[TABLE];
        bool is_used[TABLE];
        unsigned full_from; /* puts fail from this place on; 0: never */
        unsigned theirs;    /* entries that the peer has taken over from us */
        int fd, out;        /* ours, and where the other end's datagrams are put in */
        struct sockaddr_storage at;
        socklen_t at_size;
};

static struct end ends[2];
static int64_t now_ns;

static int place_of(const struct end *t, const struct instance_flow *flow)
{
        for (unsigned i = 0; i < TABLE; i++)
                if (t->is_used[i] && memcmp(&t->flow[i], flow, sizeof(*flow)) == 0)
                        return (int)i;
        return -1;
}

static int end_get(void *user, const struct instance_flow *flow, struct instance_conn *to)
{
        struct end *t = user;
        int i = place_of(t, flow);
        if (i < 0)
                return -ENOENT;
        *to = t->conn[i];
        return 0;
}

static int end_put(void *user, const struct instance_flow *flow, const struct instance_conn *c,
                   bool is_theirs)
{
        struct end *t = user;
        int i = place_of(t, flow);
        for (unsigned j = 0; i < 0 && j < (t->full_from ? t->full_from : TABLE); j++)
                if (!t->is_used[j])
                        i = (int)j;
        if (i < 0)
                return -E2BIG;
        t->is_used[i] = true;
        t->theirs += is_theirs;
        t->flow[i] = *flow;
        t->conn[i] = *c;
        return 0;
}

static void end_forget(void *user, const struct instance_flow *flow)
{
        struct end *t = user;
        int i = place_of(t, flow);
        if (i >= 0)
                t->is_used[i] = false;
}

static int end_walk(void *user,
                    bool (*visit)(void *, const struct instance_flow *, const struct instance_conn *),
                    void *to)
{
        struct end *t = user;
        for (unsigned i = 0; i < TABLE; i++)
                if (t->is_used[i] && !visit(to, &t->flow[i], &t->conn[i]))
                        break;
        return 0;
}

static struct instance_flow flow_of(unsigned i)
{
        struct instance_flow f = {.port = htons((uint16_t)(1024 + i)), .vip = 3};
        f.client.word[2] = htonl(0xffff);
        f.client.word[3] = htonl(0x0a000001);
        return f;
}

static struct instance_conn conn_of(unsigned i)
{
        return (struct instance_conn){.primary = 1,
                                      .standby = 2,
                                      .wscale = 0x777,
                                      .delta = i * 77777,
                                      .c_ack = i,
                                      .c_edge = i + 1,
                                      .c_high = i + 2,
                                      .a_ack = i + 3,
                                      .a_edge = i + 4,
                                      .a_high = i + 5,
                                      .b_ack = i + 6,
                                      .b_edge = i + 7,
                                      .b_high = i + 8,
                                      .a_fin = i + 9};
}

/* ---- the network ---- */

static struct {
        unsigned loss;  /* of 100 */
        unsigned twice; /* of 100 */
        uint32_t seed;
        uint64_t carried;
        struct {
                unsigned to;
                size_t size;
                uint8_t bytes[DOG_PAIR_MOST];
        } kept[64]; /* for replays */
        unsigned n_kept;
} net;

static int relay[2]; /* what end i sends goes to relay[i] */

static unsigned net_draw(void)
{
        net.seed = net.seed * 1664525U + 1013904223U;
        return (net.seed >> 16) % 100;
}

static void deliver(unsigned to, const void *bytes, size_t n)
{
        NEED(sendto(relay[!to], bytes, n, 0, (struct sockaddr *)&ends[to].at, ends[to].at_size) == (ssize_t)n,
             "delivered");
        net.carried++;
}

/* Everything that lies on the wire, once. */
static void net_carry(void)
{
        for (unsigned from = 0; from < 2; from++) {
                uint8_t bytes[2048];
                ssize_t n;
                while ((n = recv(relay[from], bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
                        NEED(n <= DOG_PAIR_MOST, "a datagram is at most %d octets", DOG_PAIR_MOST);
                        if (net.n_kept < ARRAY_SIZE(net.kept)) {
                                net.kept[net.n_kept].to = !from;
                                net.kept[net.n_kept].size = (size_t)n;
                                memcpy(net.kept[net.n_kept++].bytes, bytes, (size_t)n);
                        }
                        if (net_draw() < net.loss)
                                continue;
                        deliver(!from, bytes, (size_t)n);
                        if (net_draw() < net.twice)
                                deliver(!from, bytes, (size_t)n);
                }
        }
}

static int udp_at(struct sockaddr_storage *at, socklen_t *size)
{
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        int room = 1 << 20;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
        NEED(fd >= 0 && bind(fd, (struct sockaddr *)&in, sizeof(in)) == 0, "a socket");
        *size = sizeof(*at);
        getsockname(fd, (struct sockaddr *)at, size);
        return fd;
}

static void end_start(unsigned i, uint64_t world)
{
        struct sockaddr_storage peer;
        socklen_t size = sizeof(peer);
        getsockname(relay[i], (struct sockaddr *)&peer, &size);
        struct instance_pair_settings s = {
                .fd = udp_at(&ends[i].at, &ends[i].at_size),
                .peer = peer,
                .peer_size = size,
                .is_first = i == 0,
                .secret = {9},
                .world = world,
                .queue = TABLE,
                .get = end_get,
                .put = end_put,
                .forget = end_forget,
                .walk = end_walk,
                .user = &ends[i],
        };
        NEED(instance_pair_open(&ends[i].pair, &s, now_ns, NULL) == 0, "open");
}

static void run(int64_t for_ns)
{
        for (int64_t end_ns = now_ns + for_ns; now_ns < end_ns; now_ns += 10 * DOG_MS) {
                for (unsigned i = 0; i < 2; i++)
                        if (ends[i].pair)
                                instance_pair_on_timer(ends[i].pair, now_ns);
                net_carry();
                for (unsigned i = 0; i < 2; i++)
                        if (ends[i].pair)
                                instance_pair_on_readable(ends[i].pair, now_ns);
                net_carry();
        }
}

static void world_start(unsigned loss, unsigned twice)
{
        struct sockaddr_storage at;
        socklen_t size;
        memset(ends, 0, sizeof(ends));
        memset(&net, 0, sizeof(net));
        net.loss = loss;
        net.twice = twice;
        net.seed = 5;
        now_ns = 1000 * DOG_MS;
        relay[0] = udp_at(&at, &size);
        relay[1] = udp_at(&at, &size);
        end_start(0, 42);
        end_start(1, 42);
}

static void world_end(void)
{
        for (unsigned i = 0; i < 2; i++) {
                instance_pair_close(ends[i].pair);
                close(relay[i]);
        }
}

static void change(unsigned end, unsigned i)
{
        struct instance_flow f = flow_of(i);
        struct instance_conn c = conn_of(i);
        end_put(&ends[end], &f, &c, false);
        instance_pair_changed(ends[end].pair, &f, false);
}

static unsigned table_size(const struct end *t)
{
        unsigned n = 0;
        for (unsigned i = 0; i < TABLE; i++)
                n += t->is_used[i];
        return n;
}

static struct instance_pair_view view_of(unsigned i)
{
        return instance_pair_view(ends[i].pair, now_ns);
}

/* ---- statements ---- */

static void a_connection_of_one_is_known_to_the_other(void)
{
        world_start(0, 0);
        run(100 * DOG_MS);
        change(0, 5);
        run(50 * DOG_MS);
        struct instance_flow f = flow_of(5);
        struct instance_conn c = {0}, want = conn_of(5);
        want.flags = INSTANCE_CONN_PEER;
        OK(end_get(&ends[1], &f, &c) == 0 && memcmp(&c, &want, sizeof(c)) == 0,
           "every number arrives, and it is marked as the peer's");
        ends[0].conn[place_of(&ends[0], &f)].flags = INSTANCE_CONN_PROMOTED;
        instance_pair_changed(ends[0].pair, &f, false);
        run(50 * DOG_MS);
        end_get(&ends[1], &f, &c);
        OK(c.flags == (INSTANCE_CONN_PEER | INSTANCE_CONN_PROMOTED), "a promotion follows");
        end_forget(&ends[0], &f);
        instance_pair_changed(ends[0].pair, &f, false);
        run(50 * DOG_MS);
        OK(table_size(&ends[1]) == 0, "what has ended is forgotten at the other end too");
        OK(view_of(0).is_alive && view_of(1).is_equal && view_of(0).waiting == 0, "nothing waits");
        world_end();
}

static void loss_and_doubling_end_in_the_same_table(void)
{
        world_start(40, 30);
        run(3000 * DOG_MS);
        for (unsigned i = 0; i < 2000; i++)
                change(i % 2, i);
        for (unsigned i = 0; i < 500; i++) {
                struct instance_flow f = flow_of(i);
                end_forget(&ends[i % 2], &f);
                instance_pair_changed(ends[i % 2].pair, &f, false);
        }
        run(20000 * DOG_MS);
        OK(table_size(&ends[0]) == 1500 && table_size(&ends[1]) == 1500, "1500 here, %u there",
           table_size(&ends[1]));
        OK(view_of(0).resent > 0 && view_of(0).waiting == 0 && view_of(1).waiting == 0,
           "after being sent again");
        OK(view_of(0).refused[0] > 0, "what came twice was seen to");
        world_end();
}

static void a_peer_that_starts_anew_gets_the_whole_table(void)
{
        world_start(0, 0);
        run(100 * DOG_MS);
        for (unsigned i = 0; i < 1000; i++)
                change(0, i);
        run(500 * DOG_MS);
        instance_pair_close(ends[1].pair);
        memset(ends[1].is_used, 0, sizeof(ends[1].is_used));
        end_start(1, 42);
        run(1500 * DOG_MS);
        OK(table_size(&ends[1]) == 1000, "%u of 1000 are back", table_size(&ends[1]));
        OK(view_of(0).boots == 1 && view_of(0).walks == 2, "one new life was noticed");
        world_end();
}

static void what_was_taken_over_is_said_and_told_to_a_new_life(void)
{
        world_start(0, 0);
        run(100 * DOG_MS);
        change(0, 5);
        run(50 * DOG_MS);
        struct instance_flow f = flow_of(5);
        struct instance_conn *c = &ends[1].conn[place_of(&ends[1], &f)];
        OK(ends[1].theirs == 0, "a connection that is told of was not taken over");
        /* It comes to the other one: what the first knows is old from now on. */
        c->wscale = 0x7ccc;
        c->is_gated = 1;
        instance_pair_changed(ends[1].pair, &f, true);
        run(50 * DOG_MS);
        const struct instance_conn *at = &ends[0].conn[place_of(&ends[0], &f)];
        OK(ends[0].theirs == 1 && at->wscale == 0xccc && at->is_gated,
           "said, without what was heard where: %x", at->wscale);
        /* An idle one that the second only holds for the first, which has forgotten all. */
        c->flags |= INSTANCE_CONN_PEER;
        instance_pair_close(ends[0].pair);
        memset(ends[0].is_used, 0, sizeof(ends[0].is_used));
        end_start(0, 42);
        run(1500 * DOG_MS);
        OK(table_size(&ends[0]) == 1, "it is told even that");
        world_end();
}

static void a_replay_changes_nothing(void)
{
        world_start(0, 0);
        run(100 * DOG_MS);
        change(0, 1);
        run(100 * DOG_MS);
        struct instance_flow f = flow_of(1);
        end_forget(&ends[0], &f);
        instance_pair_changed(ends[0].pair, &f, false);
        run(100 * DOG_MS);
        unsigned kept = net.n_kept;
        for (unsigned i = 0; i < kept; i++)
                deliver(net.kept[i].to, net.kept[i].bytes, net.kept[i].size);
        run(50 * DOG_MS);
        OK(table_size(&ends[1]) == 0, "an ended connection does not come back by a replay in one life");
        uint64_t refused = view_of(1).refused[0];
        instance_pair_close(ends[1].pair);
        end_start(1, 42);
        for (unsigned i = 0; i < kept; i++)
                deliver(net.kept[i].to, net.kept[i].bytes, net.kept[i].size);
        run(1500 * DOG_MS);
        OK(refused > 0 && table_size(&ends[1]) == 0, "nor in the next life: it was for another boot");
        OK(view_of(1).is_alive, "and the pair finds together");
        world_end();
}

static void strangers_and_other_worlds_get_nothing(void)
{
        world_start(0, 0);
        instance_pair_close(ends[1].pair);
        end_start(1, 43);
        run(1500 * DOG_MS);
        change(0, 1);
        run(500 * DOG_MS);
        OK(table_size(&ends[1]) == 0 && view_of(0).is_alive && !view_of(0).is_equal,
           "a pair that serves different servers does not share, and says so");
        uint8_t junk[DOG_PAIR_HEAD + DOG_PAIR_TAG] = "SDP1\001";
        uint64_t before = net.carried;
        deliver(0, junk, sizeof(junk));
        deliver(0, junk, 3);
        junk[3] = '9';
        deliver(0, junk, sizeof(junk));
        instance_pair_on_readable(ends[0].pair, now_ns);
        net_carry();
        OK(view_of(0).refused[DOG_PAIR_FORGED] == 1 && view_of(0).refused[DOG_PAIR_SHORT] == 1 &&
                   view_of(0).refused[DOG_PAIR_VERSION] == 1,
           "each is counted by its flaw");
        OK(net.carried == before + 3, "and none is answered");
        world_end();
}

static void a_full_table_is_counted(void)
{
        world_start(0, 0);
        ends[1].full_from = 3;
        run(100 * DOG_MS);
        for (unsigned i = 0; i < 5; i++)
                change(0, i);
        run(100 * DOG_MS);
        OK(table_size(&ends[1]) == 3 && view_of(1).failed == 2, "two of five had no room, and are counted");
        world_end();
}

static void a_lonely_front_waits_without_end(void)
{
        world_start(100, 0);
        run(100 * DOG_MS);
        for (unsigned i = 0; i < TABLE; i++)
                change(0, i);
        run(3000 * DOG_MS);
        OK(!view_of(0).is_alive && view_of(0).sent == 0, "nothing is sent to a peer that was never heard");
        net.loss = 0;
        run(3000 * DOG_MS);
        OK(table_size(&ends[1]) == TABLE, "when it comes it gets all of it: %u", table_size(&ends[1]));
        world_end();
}

static void a_message_with_one_flipped_bit_is_refused(void)
{
        static const uint8_t secret[DOG_PAIR_KEY] = {1};
        struct dog_pair_keys a = dog_pair_keys_of(secret, true), b = dog_pair_keys_of(secret, false);
        struct dog_pair_message m = {
                .type = DOG_PAIR_CHANGES, .boot = 1, .sequence = 2, .to_boot = 3, .conns = 2};
        m.conn[1].is_gone = true;
        m.conn[1].number[9] = 0xdeadbeef;
        uint8_t bytes[DOG_PAIR_MOST];
        size_t n = dog_pair_write(&m, &a, bytes);
        struct dog_pair_message back;
        OK(n == 48 + 2 * 72 + 16 && dog_pair_read(&back, &b, bytes, n) == DOG_PAIR_FINE &&
                   memcmp(&m, &back, sizeof(m)) == 0,
           "it comes back as it was");
        OK(dog_pair_read(&back, &a, bytes, n) == DOG_PAIR_FORGED, "its own sender does not take it");
        unsigned taken = 0;
        for (size_t bit = 0; bit < n * 8; bit++) {
                bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
                taken += dog_pair_read(&back, &b, bytes, n) == DOG_PAIR_FINE;
                bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        OK(taken == 0, "none of %zu flipped bits passes", n * 8);
        m.conns = 16;
        OK(dog_pair_write(&m, &a, bytes) == 0, "more than fit is not written");
        m.conns = 0;
        OK(dog_pair_write(&m, &a, bytes) == 0, "nor a change of nothing");
}

static int open_one(void *user, struct dog_err *e)
{
        (void)user;
        struct instance_pair *p;
        struct instance_pair_settings s = {.fd = dup(0)};
        int rc = instance_pair_open(&p, &s, 0, e);
        if (rc < 0)
                close(s.fd);
        instance_pair_close(p);
        return rc;
}

static void short_memory_is_said(void)
{
        OK(alloc_fail_each(open_one, NULL) == 2, "two allocations, each survived");
}

int main(void)
{
        return CHECK_RUN(TEST(a_connection_of_one_is_known_to_the_other),
                         TEST(loss_and_doubling_end_in_the_same_table),
                         TEST(a_peer_that_starts_anew_gets_the_whole_table),
                         TEST(what_was_taken_over_is_said_and_told_to_a_new_life),
                         TEST(a_replay_changes_nothing), TEST(strangers_and_other_worlds_get_nothing),
                         TEST(a_full_table_is_counted), TEST(a_lonely_front_waits_without_end),
                         TEST(a_message_with_one_flipped_bit_is_refused), TEST(short_memory_is_said));
}
