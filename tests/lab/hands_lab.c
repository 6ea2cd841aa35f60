/* Hands on a real kernel: devices, watches, privileges, the life of the two processes. Needs root. */
#include "check.h"

#include "base/clock.h"
#include "hands/bpf.h"
#include "hands/device.h"
#include "hands/netlink.h"
#include "hands/policy.h"
#include "hands/socket.h"
#include "hands/split.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A network of one's own, gone with this process. */
static void own_network(void)
{
        if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
                SKIP("needs root for a network namespace");
}

static struct dog_hands_address address(const char *text)
{
        struct dog_hands_address a;
        NEED(dog_hands_address_parse(&a, text, NULL) == 0, "%s is an address", text);
        return a;
}

static struct dog_hands_device device_wanted(const char *name)
{
        struct dog_hands_device d = {.mtu = 1440, .queues = 3, .address = address("10.9.0.1/30")};
        dog_hands_name_set(d.name, name, NULL);
        return d;
}

static bool said_by(const char *command, const char *word)
{
        char line[512];
        bool found = false;
        FILE *f = popen(command, "r");
        while (f && fgets(line, sizeof(line), f))
                found |= strstr(line, word) != NULL;
        if (f)
                pclose(f);
        return found;
}

static void a_tunnel_device_is_made_whole_and_adopted(void)
{
        struct dog_device d, again;
        struct dog_err e = {0};
        own_network();
        struct dog_hands_device want = device_wanted("sd0");
        NEED(dog_device_make(&d, &want, &e) == 0, "%s", e.text);
        OK(!d.was_there && d.link.mtu == 1440 && d.peer.mtu == 1440 && d.link.is_up && d.peer.is_up,
           "up, MTU set");
        OK(d.link.flags & IFF_NOARP && d.peer.flags & IFF_NOARP, "asks no ARP");
        OK(d.link.peer_index == d.peer.index && strcmp(d.peer.name, "sd0p") == 0, "a pair");
        OK(said_by("ip addr show sd0", "10.9.0.1/30"), "has its address");
        OK(!said_by("ip addr show sd0", "fe80"), "and no link-local one");
        OK(said_by("ip -d link show sd0p", "numtxqueues 3"), "as many queues as asked");
        OK(dog_device_make(&again, &want, &e) == 0 && again.was_there && again.link.index == d.link.index,
           "a second time it is adopted: %s", e.text);
        OK(dog_device_mtu("sd0", 1300, &e) == 0 && dog_link_get(&d.peer, "sd0p", &e) == 0 &&
                   d.peer.mtu == 1300,
           "both ends get a new MTU: %s", e.text);
        OK(dog_device_remove("sd0", &e) == 0 && dog_link_get(&d.link, "sd0p", NULL) == -ENODEV, "removed: %s",
           e.text);
        OK(dog_device_remove("sd0", &e) == 0, "removing what is not there succeeds");
}

static void a_device_that_is_not_ours_is_left_alone(void)
{
        struct dog_device d;
        struct dog_err e = {0};
        own_network();
        struct dog_hands_device want = device_wanted("sd0");
        NEED(system("ip link add sd0 type veth peer name sd0p") == 0, "a pair made by somebody");
        OK(dog_device_make(&d, &want, &e) == -EEXIST && strstr(e.text, "not ours"), "%s", e.text);
        OK(dog_device_remove("sd0", &e) == -EPERM, "%s", e.text);
        OK(dog_device_mtu("sd0", 1300, &e) == -EPERM, "%s", e.text);
        OK(dog_link_get(&d.link, "sd0", &e) == 0 && d.link.mtu == 1500, "it is as it was");
}

static bool watch_sees(struct dog_netlink_watch *w, int what, uint32_t index, bool gone, const char *text)
{
        struct dog_netlink_change c;
        char is[64];
        struct pollfd p = {.fd = dog_netlink_watch_fd(w), .events = POLLIN};
        int64_t until_ns = dog_clock_mono_ns() + 2 * DOG_S;
        while (dog_clock_mono_ns() < until_ns) {
                while (dog_netlink_watch_next(w, &c) == 1)
                        if ((int)c.what == what && c.index == index && c.is_gone == gone &&
                            (!text || strcmp(dog_hands_address_text(&c.address, is), text) == 0))
                                return true;
                poll(&p, 1, 50);
        }
        return false;
}

static void a_watch_sees_links_addresses_routes_and_neighbours(void)
{
        struct dog_netlink_watch *w;
        struct dog_link l;
        struct dog_err e = {0};
        own_network();
        NEED(dog_netlink_watch_open(&w, &e) == 0, "%s", e.text);
        NEED(dog_link_veth_make("a0", "b0", 1, 0, &e) == 0 && dog_link_get(&l, "a0", &e) == 0, "%s", e.text);
        OK(watch_sees(w, DOG_CHANGE_LINK, l.index, false, NULL), "a new device");
        struct dog_hands_address own = address("10.1.0.1/24"), far = address("10.7.0.0/16");
        NEED(dog_link_up(l.index, &e) == 0 && dog_link_address_add(l.index, &own, &e) == 0, "%s", e.text);
        OK(watch_sees(w, DOG_CHANGE_ADDRESS, l.index, false, "10.1.0.1/24"), "its address");
        OK(dog_link_address_add(l.index, &own, &e) == 0, "adding it again succeeds: %s", e.text);
        NEED(dog_route_set(&far, l.index, 0, false, &e) == 0, "%s", e.text);
        OK(watch_sees(w, DOG_CHANGE_ROUTE, l.index, false, "10.7.0.0/16"), "a route");
        OK(dog_route_set(&far, l.index, 0, true, &e) == 0 && dog_route_set(&far, l.index, 0, true, &e) == 0,
           "removing it twice succeeds: %s", e.text);
        OK(watch_sees(w, DOG_CHANGE_ROUTE, l.index, true, "10.7.0.0/16"), "its end");
        NEED(system("ip neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev a0") == 0, "a neighbour");
        OK(watch_sees(w, DOG_CHANGE_NEIGHBOUR, l.index, false, "10.1.0.9"), "a neighbour");
        NEED(dog_link_remove(l.index, &e) == 0, "%s", e.text);
        OK(watch_sees(w, DOG_CHANGE_LINK, l.index, true, NULL), "the end of the device");
        dog_netlink_watch_close(w);
}

static void a_next_hop_is_the_router_or_the_far_end_itself(void)
{
        struct dog_next_hop hop;
        struct dog_err e = {0};
        char text[64];
        own_network();
        NEED(system("ip link add e0 address 02:00:00:00:00:01 type veth peer name e1 && ip link set e0 up && "
                    "ip link set e1 up && ip addr add 10.1.0.1/24 dev e0 && ip addr add 10.1.0.5/24 dev e0 "
                    "&& "
                    "ip route add 192.0.2.0/24 via 10.1.0.254 mtu 1400 && "
                    "ip neigh add 10.1.0.254 lladdr 02:00:00:00:00:fe dev e0 && "
                    "ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:02 dev e0") == 0,
             "an underlay");
        struct dog_hands_address near = address("10.1.0.2"), far = address("192.0.2.7"),
                                 five = address("10.1.0.5"), own = address("10.1.0.1"),
                                 lost = address("198.51.100.1"), mute = address("10.1.0.66");
        NEED(dog_next_hop_find(&hop, "e0", NULL, &near, 100, &e) == 0, "%s", e.text);
        OK(hop.mac[5] == 2 && hop.own_mac[5] == 1 && hop.mtu == 1500, "on the link: its own MAC address");
        OK(strcmp(dog_hands_address_text(&hop.source, text), "10.1.0.1") == 0, "from %s", text);
        NEED(dog_next_hop_find(&hop, "e0", &five, &far, 100, &e) == 0, "%s", e.text);
        OK(hop.mac[5] == 0xfe && hop.mtu == 1400, "behind a router: the router's, and the route's MTU of %u",
           hop.mtu);
        OK(strcmp(dog_hands_address_text(&hop.source, text), "10.1.0.5") == 0,
           "from the address asked for: %s", text);
        OK(dog_next_hop_find(&hop, "e0", NULL, &own, 100, &e) == -EINVAL, "our own address: %s", e.text);
        OK(dog_next_hop_find(&hop, "e0", NULL, &mute, 0, &e) == -EAGAIN, "asked, not waited for: %s", e.text);
        OK(dog_next_hop_find(&hop, "e0", NULL, &mute, 60, &e) == -EHOSTUNREACH, "nobody there: %s", e.text);
        OK(dog_next_hop_find(&hop, "none", NULL, &near, 0, &e) == -ENODEV, "no device: %s", e.text);
        NEED(system("ip link set e0 down") == 0, "down");
        OK(dog_next_hop_find(&hop, "e0", NULL, &lost, 0, &e) < 0 && e.text[0], "no route: %s", e.text);
}

/* The kernel's own rule, without the system call filter: a map one has may be changed, none made. */
static void without_capabilities_a_map_can_be_changed_and_none_be_made(void)
{
        struct dog_err e = {0};
        uint32_t key = 0, value = 7;
        int status;
        if (geteuid() != 0)
                SKIP("needs root to give it up");
        int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "given", 4, 4, 1, NULL);
        if (map < 0)
                SKIP("needs CAP_BPF");
        int pid = fork();
        if (pid == 0) {
                int wrong = dog_privileges_drop(NULL, &e) < 0 ? 1 : 0;
                wrong |= bpf_map_update_elem(map, &key, &value, BPF_ANY) < 0 ? 2 : 0;
                wrong |= bpf_map_create(BPF_MAP_TYPE_ARRAY, "mine", 4, 4, 1, NULL) >= 0 ? 4 : 0;
                wrong |= setuid(0) == 0 ? 8 : 0;
                wrong |= dog_seccomp_enter(DOG_SECCOMP_STRICT, &e) < 0 ? 16 : 0;
                wrong |= bpf_map_lookup_elem(map, &key, &value) < 0 ? 32 : 0;
                wrong |= mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                              0) != MAP_FAILED
                                 ? 64
                                 : 0;
                _exit(wrong);
        }
        waitpid(pid, &status, 0);
        OK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "steps that went wrong: %#x", status);
        OK(bpf_map_lookup_elem(map, &key, &value) == 0 && value == 7, "the change arrived");
        close(map);
}

static void an_unknown_user_and_root_are_no_users_for_a_decider(void)
{
        struct dog_err e = {0};
        if (geteuid() != 0)
                SKIP("needs root to give it up");
        static const char *const names[] = {"root", "no-such-user"};
        for (int i = 0; i < 2; i++) {
                int status, pid = fork();
                if (pid == 0)
                        _exit(dog_privileges_drop(names[i], &e) < 0 && strstr(e.text, names[i]) ? 0 : 1);
                waitpid(pid, &status, 0);
                OK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", names[i]);
        }
}

/* ------------------------------------------------------------- programs on tc, and sockets */

/* A program that says `verdict` to every packet, in hands' hands. */
static struct dog_hands_object verdict_object(int verdict)
{
        char command[512], path[] = "/tmp/hd-verdict-XXXXXX.o";
        static char bytes[16384];
        struct dog_hands_object o = {.name = "verdict", .bytes = bytes};
        int fd = mkstemps(path, 2);
        NEED(fd >= 0, "a file in /tmp");
        snprintf(command, sizeof(command),
                 "printf '__attribute__((section(\"tc\"), used)) int verdict(void *c) { return %d; }"
                 "char l[] __attribute__((section(\"license\"), used)) = \"GPL\";' |"
                 " clang -O2 -g -target bpf -x c -c - -o %s",
                 verdict, path);
        NEED(system(command) == 0, "clang makes a program");
        close(fd);
        fd = open(path, O_RDONLY | O_CLOEXEC); /* the compiler made a file of its own under that name */
        ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));
        NEED(n > 0, "the object is read");
        o.length = (size_t)n;
        close(fd);
        unlink(path);
        return o;
}

struct hooks {
        char folder[64];
        struct dog_hands_policy policy;
        struct dog_hands_object object;
        struct dog_bpf *bpf;
        uint32_t handle;
};

/* A cable h0 = h1 with h0 ours, and a program that drops all. */
static void hooks_open(struct hooks *h)
{
        struct dog_err e = {0};
        struct dog_hands_reply r;
        own_network();
        NEED(system("ip link add h0 type veth peer name h1 && ip link set h0 up && ip link set h1 up") == 0,
             "a cable");
        snprintf(h->folder, sizeof(h->folder), "/sys/fs/bpf/sundog-test-%d", getpid());
        dog_hands_policy_init(&h->policy);
        NEED(dog_hands_policy_folder(&h->policy, h->folder, &e) == 0, "%s", e.text);
        NEED(dog_hands_policy_device(&h->policy, "h0", DOG_DEVICE_UNDERLAY, &e) == 0, "%s", e.text);
        h->object = verdict_object(2);
        NEED(dog_bpf_open(&h->bpf, &h->policy, &h->object, 1, &e) == 0, "%s", e.text);
        struct dog_hands_program p = {.object = "verdict", .instance = "front", .program = "verdict"};
        NEED(dog_bpf_program_load(h->bpf, &p, &r, &e) == 0, "%s", e.text);
        h->handle = r.as.program.handle;
}

static void hooks_close(struct hooks *h)
{
        struct dog_err e = {0};
        OK(dog_bpf_instance_forget(h->bpf, "front", &e) == 0, "%s", e.text);
        dog_bpf_close(h->bpf);
        OK(rmdir(h->folder) == 0, "nothing is left pinned");
}

/* Frames that leave h1 arrive on h0: does its ingress hook let them by to a packet socket behind it? */
static bool passes(void)
{
        struct dog_link from, to;
        struct dog_err e = {0};
        char frame[64] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x08, 0x06}, got[64];
        bool arrived = false;
        NEED(dog_link_get(&from, "h1", &e) == 0 && dog_link_get(&to, "h0", &e) == 0, "%s", e.text);
        memcpy(frame, to.mac, 6);
        int out = dog_socket_frames(&from, &e);
        int in = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK, htons(0x0806));
        struct sockaddr_ll name = {
                .sll_family = AF_PACKET, .sll_protocol = htons(0x0806), .sll_ifindex = (int)to.index};
        NEED(out >= 0 && in >= 0 && bind(in, (void *)&name, sizeof(name)) == 0, "%s", e.text);
        NEED(send(out, frame, sizeof(frame), 0) == (ssize_t)sizeof(frame), "a frame leaves: %s",
             strerror(errno));
        struct pollfd p = {.fd = in, .events = POLLIN};
        if (poll(&p, 1, 200) == 1)
                arrived = recv(in, got, sizeof(got), 0) > 0;
        close(in);
        close(out);
        return arrived;
}

static int hooks_attach(struct hooks *h, uint32_t how, bool egress, struct dog_hands_reply *r,
                        struct dog_err *e)
{
        struct dog_hands_tc want = {
                .instance = "front", .device = "h0", .handle = h->handle, .is_egress = egress, .how = how};
        return dog_bpf_tc_attach(h->bpf, &want, r, e);
}

/* I9 rests on it: what forwards must stay when we die, and be exchanged in place. */
static void a_program_on_tc_is_exchanged_in_place_and_taken_off(void)
{
        static const uint32_t ways[] = {DOG_HANDS_TC_LINK, DOG_HANDS_TC_FILTER};
        struct hooks h;
        struct dog_err e = {0};
        struct dog_hands_reply r;
        hooks_open(&h);
        OK(passes(), "nothing is there: a frame passes");
        for (int w = 0; w < 2; w++) {
                int rc = hooks_attach(&h, ways[w], false, &r, &e);
                if (rc == -EOPNOTSUPP && ways[w] == DOG_HANDS_TC_LINK)
                        continue; /* before Linux 6.6 */
                OK(rc == 0 && r.as.tc.how == ways[w] && !r.as.tc.was_there, "attached: %s", e.text);
                OK(!passes(), "the program drops");
                OK(hooks_attach(&h, ways[w], false, &r, &e) == 0 && r.as.tc.was_there == 1,
                   "a second time it is exchanged: %s", e.text);
                OK(hooks_attach(&h, ways[w], true, &r, &e) == 0 && !r.as.tc.was_there,
                   "the other direction is another place: %s", e.text);
                /* Another process, which knows nothing but the pins. */
                dog_bpf_close(h.bpf);
                OK(!passes(), "it stays when its owner is gone");
                NEED(dog_bpf_open(&h.bpf, &h.policy, &h.object, 1, &e) == 0, "%s", e.text);
                struct dog_hands_program p = {.object = "verdict", .instance = "front", .program = "verdict"};
                NEED(dog_bpf_program_load(h.bpf, &p, &r, &e) == 0, "%s", e.text);
                h.handle = r.as.program.handle;
                OK(hooks_attach(&h, DOG_HANDS_TC_AUTO, false, &r, &e) == 0, "the next owner finds it: %s",
                   e.text);
                struct dog_hands_tc want = {.instance = "front", .device = "h0"};
                OK(dog_bpf_tc_detach(h.bpf, &want, &e) == 0 && passes(), "taken off: %s", e.text);
                OK(dog_bpf_tc_detach(h.bpf, &want, &e) == 0, "twice is no error: %s", e.text);
        }
        OK(hooks_attach(&h, DOG_HANDS_TC_FILTER, false, &r, &e) == 0 && !passes(), "%s", e.text);
        OK(dog_bpf_instance_forget(h.bpf, "front", &e) == 0 && passes(), "it goes with its instance: %s",
           e.text);
        hooks_close(&h);
}

static void a_strangers_filter_is_left_alone(void)
{
        struct hooks h;
        struct dog_err e = {0};
        struct dog_hands_reply r;
        hooks_open(&h);
        /* One in our very place, and one beside it. */
        LIBBPF_OPTS(bpf_tc_opts, taken, .handle = 1, .priority = 48000);
        struct dog_link l;
        NEED(dog_link_get(&l, "h0", &e) == 0, "%s", e.text);
        NEED(hooks_attach(&h, DOG_HANDS_TC_FILTER, false, &r, &e) == 0, "%s", e.text);
        NEED(system("rm /sys/fs/bpf/sundog-test-*/front/cls-in-h0") == 0, "its pin is lost: it is nobody's");
        OK(hooks_attach(&h, DOG_HANDS_TC_FILTER, false, &r, &e) == -EBUSY && strstr(e.text, "not ours"), "%s",
           e.text);
        struct dog_hands_tc want = {.instance = "front", .device = "h0"};
        OK(dog_bpf_tc_detach(h.bpf, &want, &e) == 0 && !passes(), "nor is it taken off");
        LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)l.index, .attach_point = BPF_TC_INGRESS);
        OK(bpf_tc_detach(&hook, &taken) == 0 && passes(), "its owner takes it off");
        OK(hooks_attach(&h, DOG_HANDS_TC_AUTO, false, &r, &e) == 0, "then there is room: %s", e.text);
        want.device[0] = 'x';
        OK(dog_bpf_tc_detach(h.bpf, &want, &e) == -EACCES, "a device that is not ours: %s", e.text);
        hooks_close(&h);
}

static void a_socket_for_frames_hears_nothing(void)
{
        struct dog_link l;
        struct dog_err e = {0};
        char got[64];
        own_network();
        NEED(system("ip link add h0 type veth peer name h1 && ip link set h0 up && ip link set h1 up") == 0,
             "a cable");
        NEED(dog_link_get(&l, "h0", &e) == 0, "%s", e.text);
        int fd = dog_socket_frames(&l, &e);
        NEED(fd >= 0, "%s", e.text);
        /* As one would who has taken the decider over. */
        struct sockaddr_ll all = {
                .sll_family = AF_PACKET, .sll_protocol = htons(3), .sll_ifindex = (int)l.index};
        (void)!bind(fd, (void *)&all, sizeof(all));
        (void)!setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &fd, sizeof(fd));
        OK(passes(), "a frame arrives on the device");
        OK(recv(fd, got, sizeof(got), MSG_DONTWAIT) < 0 && errno == EAGAIN, "and not on the socket");
        close(fd);
}

static void a_ping_socket_hears_answers(void)
{
        struct dog_link l;
        struct dog_err e = {0};
        bool is_raw;
        own_network();
        NEED(system("ip link set lo up") == 0 && dog_link_get(&l, "lo", &e) == 0, "%s", e.text);
        for (uint32_t version = 4; version <= 6; version += 2) {
                int fd = dog_socket_ping(&l, version, &is_raw, &e);
                NEED(fd >= 0, "IPv%u: %s", version, e.text);
                uint8_t echo[8] = {version == 4 ? 8 : 128,
                                   0,
                                   version == 4 ? 0xf7 : 0,
                                   version == 4 ? 0xfd : 0,
                                   0,
                                   1,
                                   0,
                                   1};
                struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000001)};
                struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
                const void *to = version == 4 ? (const void *)&four : (const void *)&six;
                OK(sendto(fd, echo, sizeof(echo), 0, to, version == 4 ? sizeof(four) : sizeof(six)) == 8,
                   "IPv%u: sent: %s", version, strerror(errno));
                uint8_t got[64];
                struct pollfd p = {.fd = fd, .events = POLLIN};
                ssize_t n = poll(&p, 1, 500) == 1 ? recv(fd, got, sizeof(got), 0) : -1;
                unsigned at = is_raw && version == 4 && n > 20 ? (got[0] & 15) * 4u : 0;
                OK(n >= 8 + (ssize_t)at && got[at] == (version == 4 ? 0 : 129), "IPv%u (%s): answered",
                   version, is_raw ? "raw" : "ping socket");
                close(fd);
        }
}

/* ----------------------------------------------------------------------------------- split */

/* Shared with the deciders, which are other processes. */
struct lives {
        int count, ready_from, die_until, end_status;
        int64_t born_ns[16];
};

static int lives_decider(struct dog_hands_client *hands, void *data)
{
        struct lives *l = data;
        int life = l->count++;
        l->born_ns[life & 15] = dog_clock_mono_ns();
        if (life >= l->ready_from && dog_hands_ready(hands, NULL) < 0)
                return 99;
        if (life < l->die_until)
                raise(SIGKILL);
        if (l->end_status >= 0)
                return l->end_status;
        for (;;)
                pause();
}

static int split_with(struct lives *l, struct dog_err *e)
{
        static struct dog_hands_policy policy;
        char folder[] = "/tmp/hd-split-XXXXXX";
        NEED(mkdtemp(folder) != NULL, "a folder");
        dog_hands_policy_init(&policy);
        NEED(dog_hands_policy_folder(&policy, folder, e) == 0, "%s", e->text);
        struct dog_split split = {.policy = &policy, .decider_main = lives_decider, .data = l};
        /* In a child: it gives capabilities up for good. */
        int status, pid = fork();
        if (pid == 0)
                _exit(dog_split_run(&split, e));
        int64_t until_ns = dog_clock_mono_ns() + 5 * DOG_S;
        while (l->end_status < 0 && l->count == 0 && dog_clock_mono_ns() < until_ns)
                poll(NULL, 0, 10);
        if (l->end_status < 0)
                kill(pid, SIGTERM);
        waitpid(pid, &status, 0);
        umount(folder);
        rmdir(folder);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_decider_that_dies_is_started_again_with_growing_pauses(void)
{
        struct dog_err e = {0};
        if (geteuid() != 0)
                SKIP("needs root");
        struct lives *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        *l = (struct lives){.die_until = 3, .end_status = 0};
        OK(split_with(l, &e) == 0 && l->count == 4, "three deaths, then an end of its own: %d lives",
           l->count);
        int64_t first = l->born_ns[1] - l->born_ns[0], third = l->born_ns[3] - l->born_ns[2];
        OK(first >= 100 * DOG_MS && third >= 400 * DOG_MS, "pauses of %lld and %lld ms",
           (long long)(first / DOG_MS), (long long)(third / DOG_MS));
        munmap(l, sizeof(*l));
}

static void a_decider_that_cannot_start_is_not_started_again(void)
{
        struct dog_err e = {0};
        if (geteuid() != 0)
                SKIP("needs root");
        struct lives *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        *l = (struct lives){.ready_from = 100, .end_status = 5};
        OK(split_with(l, &e) == 5 && l->count == 1, "its status is ours: %d lives", l->count);
        munmap(l, sizeof(*l));
}

static void a_signal_to_stop_reaches_the_decider_first(void)
{
        struct dog_err e = {0};
        if (geteuid() != 0)
                SKIP("needs root");
        struct lives *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        *l = (struct lives){.end_status = -1};
        OK(split_with(l, &e) == 0 && l->count == 1, "stopped at once and not started again: %d lives",
           l->count);
        munmap(l, sizeof(*l));
}

int main(void)
{
        return CHECK_RUN(TEST(a_tunnel_device_is_made_whole_and_adopted),
                         TEST(a_device_that_is_not_ours_is_left_alone),
                         TEST(a_watch_sees_links_addresses_routes_and_neighbours),
                         TEST(a_next_hop_is_the_router_or_the_far_end_itself),
                         TEST(a_program_on_tc_is_exchanged_in_place_and_taken_off),
                         TEST(a_strangers_filter_is_left_alone), TEST(a_socket_for_frames_hears_nothing),
                         TEST(a_ping_socket_hears_answers),
                         TEST(without_capabilities_a_map_can_be_changed_and_none_be_made),
                         TEST(an_unknown_user_and_root_are_no_users_for_a_decider),
                         TEST(a_decider_that_dies_is_started_again_with_growing_pauses),
                         TEST(a_decider_that_cannot_start_is_not_started_again),
                         TEST(a_signal_to_stop_reaches_the_decider_first));
}
