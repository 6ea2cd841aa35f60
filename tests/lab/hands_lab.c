/* Hands on a real kernel: devices, watches, privileges, the life of the two processes. Needs root. */
#include "check.h"

#include "base/clock.h"
#include "hands/device.h"
#include "hands/netlink.h"
#include "hands/policy.h"
#include "hands/split.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
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
                         TEST(without_capabilities_a_map_can_be_changed_and_none_be_made),
                         TEST(an_unknown_user_and_root_are_no_users_for_a_decider),
                         TEST(a_decider_that_dies_is_started_again_with_growing_pauses),
                         TEST(a_decider_that_cannot_start_is_not_started_again),
                         TEST(a_signal_to_stop_reaches_the_decider_first));
}
