/* Hands without root: what a request may say, what the policy allows, keys, and the split's talk. */
#include "check.h"

#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "hands/btf.h"
#include "hands/client.h"
#include "hands/kernel.h"
#include "hands/netlink.h"
#include "hands/policy.h"
#include "hands/secret.h"
#include "hands/split.h"

#include <bpf/btf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------- requests */

static struct dog_hands_request good_device(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_DEVICE_MAKE);
        dog_hands_name_set(q.as.device.name, "sd0", NULL);
        q.as.device.mtu = 1440;
        dog_hands_address_parse(&q.as.device.address, "10.9.0.1/30", NULL);
        return q;
}

static struct dog_hands_request good_program(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_PROGRAM_LOAD);
        dog_hands_name_set(q.as.program.object, "path_egress", NULL);
        dog_hands_name_set(q.as.program.instance, "tunnel-sd0", NULL);
        dog_hands_name_set(q.as.program.program, "path_egress", NULL);
        q.as.program.n_settings = 1;
        dog_hands_name_set(q.as.program.setting[0].name, "path_number", NULL);
        q.as.program.setting[0].n_bytes = 4;
        q.as.program.setting[0].bytes[0] = 3;
        return q;
}

static struct dog_hands_request good_object(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_OBJECT_OPEN);
        dog_hands_name_set(q.as.object.object, "path_replicate", NULL);
        dog_hands_name_set(q.as.object.instance, "tunnel-sd0", NULL);
        q.as.object.n_sizes = 2;
        dog_hands_name_set(q.as.object.size[0].map, "path_classes", NULL);
        q.as.object.size[0].entries = 16;
        dog_hands_name_set(q.as.object.size[1].map, "path_drops", NULL);
        dog_hands_name_set(q.as.object.size[1].from, "host", NULL);
        return q;
}

static struct dog_hands_request good_tc(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_TC_ATTACH);
        dog_hands_name_set(q.as.tc.instance, "front", NULL);
        dog_hands_name_set(q.as.tc.device, "eth0.100", NULL);
        q.as.tc.handle = 1;
        q.as.tc.is_egress = 1;
        q.as.tc.how = DOG_HANDS_TC_FILTER;
        return q;
}

static struct dog_hands_request good_frames(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_SOCKET_FRAMES);
        dog_hands_name_set(q.as.frames.device, "eth1", NULL);
        return q;
}

static struct dog_hands_request good_ping(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_SOCKET_PING);
        dog_hands_name_set(q.as.ping.device, "eth1", NULL);
        q.as.ping.version = 6;
        return q;
}

static struct dog_hands_request good_helper(void)
{
        struct dog_hands_request q = dog_hands_request_of(DOG_HANDS_HELPER_START);
        dog_hands_name_set(q.as.helper.name, "feeds", NULL);
        return q;
}

static int read_of(const struct dog_hands_request *q, size_t size, struct dog_err *e)
{
        struct dog_hands_request to;
        /* On the heap and of the very size, so that the sanitizer sees a step too far. */
        void *bytes = malloc(size ? size : 1);
        memcpy(bytes, q, size < sizeof(*q) ? size : sizeof(*q));
        int rc = dog_hands_request_read(&to, bytes, size, e);
        free(bytes);
        return rc;
}

static void a_good_request_is_read(void)
{
        struct dog_err e = {0};
        struct dog_hands_request list[] = {
                good_device(), good_program(), good_object(), good_tc(),
                good_frames(), good_ping(),    good_helper(), dog_hands_request_of(DOG_HANDS_KERNEL_PROBE)};
        for (size_t i = 0; i < ARRAY_SIZE(list); i++)
                OK(read_of(&list[i], sizeof(list[i]), &e) == 0, "%s: %s", dog_hands_op_text(list[i].op),
                   e.text);
}

static void a_request_of_another_length_is_refused(void)
{
        struct dog_hands_request q = good_device();
        for (size_t size = 0; size < sizeof(q); size += 7)
                OK(read_of(&q, size, NULL) == -EMSGSIZE, "%zu bytes", size);
        struct dog_hands_request to;
        OK(dog_hands_request_read(&to, &q, sizeof(q) + 1, NULL) == -EMSGSIZE,
           "one byte more, cut off on arrival");
}

static void a_request_of_another_version_or_operation_is_refused(void)
{
        struct dog_hands_request q = good_device();
        q.version++;
        OK(read_of(&q, sizeof(q), NULL) == -EPROTO, "version");
        static const uint32_t ops[] = {DOG_HANDS_NONE, DOG_HANDS_OPS_END, 1000, UINT32_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
                q = good_device();
                q.op = ops[i];
                OK(read_of(&q, sizeof(q), NULL) == -EOPNOTSUPP, "operation %u", ops[i]);
        }
}

static void a_name_that_could_be_a_path_is_refused(void)
{
        static const char *const bad[] = {"",     "..",    ".",       ".hidden",
                                          "a/b",  "/etc",  "sd0;rm",  "SD0",
                                          "sd 0", "sd\n0", "sd0\xff", "this-name-has-fifteen"};
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct dog_hands_request q = good_device();
                memset(q.as.device.name, 0, sizeof(q.as.device.name));
                memcpy(q.as.device.name, bad[i], strlen(bad[i]));
                OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "device \"%s\"", bad[i]);
        }
        struct dog_hands_request q = good_device();
        memset(q.as.device.name, 'a', sizeof(q.as.device.name));
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "a name without an end");
        q = good_device();
        q.as.device.name[20] = 'x';
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "bytes after the end of a name");
}

static void a_number_or_a_list_out_of_range_is_refused(void)
{
        struct dog_hands_request q = good_device();
        q.as.device.mtu = 65536;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "MTU");
        q = good_device();
        q.as.device.address.prefix = 33;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "prefix");
        q = good_device();
        q.as.device.address.version = 5;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "address family");
        q = good_device();
        q.as.device.address.bytes[15] = 1;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "bytes after an IPv4 address");
        static const uint32_t counts[] = {DOG_HANDS_SIZES + 1, 1000, UINT32_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
                q = good_object();
                q.as.object.n_sizes = counts[i];
                OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "%u map sizes", counts[i]);
                q = good_program();
                q.as.program.n_settings = counts[i];
                OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "%u constants", counts[i]);
        }
        static const uint32_t lengths[] = {0, DOG_HANDS_SETTING + 1, 1000, UINT32_MAX};
        for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
                q = good_program();
                q.as.program.setting[0].n_bytes = lengths[i];
                OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "a constant of %u bytes", lengths[i]);
        }
        q = good_object();
        q.as.object.size[1].entries = 4;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "a size for a map of another instance");
        q = good_tc();
        q.as.tc.how = DOG_HANDS_TC_HOWS;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "a way to attach that is none");
        q = good_tc();
        q.as.tc.handle = DOG_HANDS_NO_HANDLE;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "no program to attach");
        q.op = DOG_HANDS_TC_DETACH;
        q.as.tc.how = 0;
        OK(read_of(&q, sizeof(q), NULL) == 0, "none is due to detach");
        q.as.tc.how = 1;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "nor a way");
        static const uint32_t versions[] = {0, 1, 5, 7, 46};
        for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
                q = good_ping();
                q.as.ping.version = versions[i];
                OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "IP version %u", versions[i]);
        }
        q = good_program();
        q.as.program.setting[0].bytes[4] = 1;
        OK(read_of(&q, sizeof(q), NULL) == -EINVAL, "bytes after a constant");
}

/* Every byte of a request is either checked or must be zero: none is taken unseen. */
static void a_byte_that_means_nothing_must_be_zero(void)
{
        unsigned refused = 0, places = 0;
        struct dog_hands_request list[] = {good_device(),
                                           good_program(),
                                           good_object(),
                                           good_tc(),
                                           good_frames(),
                                           good_ping(),
                                           dog_hands_request_of(DOG_HANDS_KERNEL_PROBE)};
        for (size_t i = 0; i < ARRAY_SIZE(list); i++) {
                for (size_t at = sizeof(list[i]) - 1; at >= sizeof(list[i]) - 200; at--) {
                        struct dog_hands_request q = list[i];
                        ((uint8_t *)&q)[at] ^= 0x5a;
                        places++;
                        refused += read_of(&q, sizeof(q), NULL) == -EINVAL;
                }
        }
        OK(refused == places, "%u of %u stray bytes were refused", refused, places);
}

static void a_reply_to_another_question_is_refused(void)
{
        struct dog_hands_request asked = good_device();
        struct dog_hands_reply r = {.version = DOG_HANDS_VERSION, .op = asked.op, .id = 7}, to;
        asked.id = 7;
        OK(dog_hands_reply_read(&to, &r, sizeof(r), &asked, NULL) == 0, "the right one");
        r.id = 6;
        OK(dog_hands_reply_read(&to, &r, sizeof(r), &asked, NULL) == -EBADMSG, "an old one");
        OK(dog_hands_reply_read(&to, &r, sizeof(r) - 1, &asked, NULL) == -EMSGSIZE, "a short one");
        r.version = 9;
        OK(dog_hands_reply_read(&to, &r, sizeof(r), &asked, NULL) == -EPROTO, "of another version");
}

/* --------------------------------------------------------------------------------- policy */

static struct dog_hands_address address(const char *text)
{
        struct dog_hands_address a;
        struct dog_err e = {0};
        OK(dog_hands_address_parse(&a, text, &e) == 0, "%s", e.text);
        return a;
}

static void what_the_policy_does_not_name_is_refused(void)
{
        struct dog_hands_policy p;
        struct dog_err e = {0};
        dog_hands_policy_init(&p);
        OK(dog_hands_policy_may_attach(&p, "eth0", &e) == -EACCES && strstr(e.text, "eth0"),
           "nothing is allowed: %s", e.text);
        NEED(dog_hands_policy_device(&p, "eth0", DOG_DEVICE_UNDERLAY, &e) == 0, "%s", e.text);
        NEED(dog_hands_policy_device(&p, "sd0", DOG_DEVICE_TUNNEL, &e) == 0, "%s", e.text);
        NEED(dog_hands_policy_port(&p, 4754, 4755, &e) == 0, "%s", e.text);
        struct dog_hands_address allowed = address("10.0.0.0/12");
        NEED(dog_hands_policy_prefix(&p, &allowed, &e) == 0, "%s", e.text);
        static const struct {
                const char *device;
                int tunnel, attach;
        } device[] = {
                {"sd0", 0, 0},
                {"sd0p", 0, 0},
                {"eth0", -EACCES, 0},
                {"sd0px", -EACCES, -EACCES},
                {"eth0p", -EACCES, -EACCES},
                {"lo", -EACCES, -EACCES},
        };
        for (size_t i = 0; i < ARRAY_SIZE(device); i++) {
                OK(dog_hands_policy_may_use(&p, device[i].device, DOG_DEVICE_TUNNEL, NULL) ==
                           device[i].tunnel,
                   "%s as a tunnel", device[i].device);
                OK(dog_hands_policy_may_attach(&p, device[i].device, NULL) == device[i].attach, "XDP on %s",
                   device[i].device);
        }
        OK(dog_hands_policy_may_bind(&p, 4755, NULL) == 0, "a port of the range");
        OK(dog_hands_policy_may_bind(&p, 4756, NULL) == -EACCES, "a port beside it");
        OK(dog_hands_policy_may_bind(&p, 53, NULL) == -EACCES, "a low port");
        static const struct {
                const char *to;
                int rc;
        } route[] = {{"10.15.0.0/16", 0},    {"10.0.0.0/12", 0},      {"10.16.0.0/16", -EACCES},
                     {"0.0.0.0/0", -EACCES}, {"10.0.0.0/8", -EACCES}, {"fd00::/64", -EACCES}};
        for (size_t i = 0; i < ARRAY_SIZE(route); i++) {
                struct dog_hands_address to = address(route[i].to);
                OK(dog_hands_policy_may_route(&p, &to, NULL) == route[i].rc, "route to %s", route[i].to);
        }
        OK(dog_hands_policy_secret_path(&p, "key") == NULL, "no secret is named");
        OK(dog_hands_policy_helper_of(&p, "feeds") == -1, "no helper is named");
}

static void a_policy_that_cannot_be_meant_is_refused(void)
{
        struct dog_hands_policy p;
        dog_hands_policy_init(&p);
        OK(dog_hands_policy_folder(&p, "relative", NULL) == -EINVAL, "relative folder");
        OK(dog_hands_policy_folder(&p, "/sys/fs/bpf/../x", NULL) == -EINVAL, "folder with ..");
        OK(dog_hands_policy_folder(&p, "/run/bpf/", NULL) == 0 && strcmp(p.pin_folder, "/run/bpf") == 0,
           "a good one");
        OK(dog_hands_policy_device(&p, "a-name-too-long", DOG_DEVICE_TUNNEL, NULL) == -EINVAL,
           "no room for the peer");
        OK(dog_hands_policy_device(&p, "eth/0", DOG_DEVICE_UNDERLAY, NULL) == -EINVAL, "a slash");
        OK(dog_hands_policy_device(&p, "sd0", DOG_DEVICE_TUNNEL, NULL) == 0, "once");
        OK(dog_hands_policy_device(&p, "sd0", DOG_DEVICE_TUNNEL, NULL) == 0 && p.n_devices == 1,
           "twice is once");
        OK(dog_hands_policy_device(&p, "sd0", DOG_DEVICE_UNDERLAY, NULL) == -EINVAL, "in two roles");
        OK(dog_hands_policy_port(&p, 5, 4, NULL) == -EINVAL, "ports the wrong way round");
        OK(dog_hands_policy_secret(&p, "key", "relative", NULL) == -EINVAL, "a relative secret");
        OK(dog_hands_policy_helper(&p, &(struct dog_hands_helper){.name = "../sh"}, NULL) == -EINVAL,
           "a helper that is a path");
        for (int i = 0; i < DOG_HANDS_HELPERS; i++)
                OK(dog_hands_policy_helper(&p, &(struct dog_hands_helper){.name = i ? "other" : "feeds"},
                                           NULL) == 0 &&
                           dog_hands_policy_helper_of(&p, "feeds") == 0,
                   "helper %d", i);
        OK(dog_hands_policy_helper(&p, &(struct dog_hands_helper){.name = "more"}, NULL) == -ENOSPC,
           "a full list of helpers");
        for (int i = 1; i < DOG_HANDS_DEVICES; i++) {
                char name[16];
                snprintf(name, sizeof(name), "e%d", i);
                OK(dog_hands_policy_device(&p, name, DOG_DEVICE_UNDERLAY, NULL) == 0, "%s", name);
        }
        OK(dog_hands_policy_device(&p, "onemore", DOG_DEVICE_UNDERLAY, NULL) == -ENOSPC, "a full table");
}

static void addresses_are_read_and_written(void)
{
        static const struct {
                const char *text, *back;
        } good[] = {{"10.0.0.1", "10.0.0.1"},
                    {"10.0.0.1/32", "10.0.0.1"},
                    {"10.0.0.0/8", "10.0.0.0/8"},
                    {"fd00::1/64", "fd00::1/64"},
                    {"::1", "::1"}};
        static const char *const bad[] = {"",          "10.0.0",      "10.0.0.1/33",
                                          "10.0.0.1/", "10.0.0.1/-1", "fd00::1/129",
                                          "eth0",      "10.0.0.1/8x", "/8"};
        char text[64];
        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                struct dog_hands_address a = address(good[i].text);
                OK(strcmp(dog_hands_address_text(&a, text), good[i].back) == 0, "%s became %s", good[i].text,
                   text);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct dog_hands_address a;
                OK(dog_hands_address_parse(&a, bad[i], NULL) == -EINVAL && a.version == 0, "\"%s\"", bad[i]);
        }
}

/* -------------------------------------------------------------------------------- secrets */

static int secret_of(const char *text, mode_t mode, uint8_t key[DOG_SECRET_KEY], struct dog_err *e)
{
        char path[] = "/tmp/dog-secret-XXXXXX";
        int fd = mkstemp(path);
        NEED(fd >= 0, "a file in /tmp");
        NEED(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "written");
        fchmod(fd, mode);
        close(fd);
        fd = dog_secret_open(path, e);
        int rc = fd < 0 ? fd : dog_secret_key_read(key, fd, e);
        if (fd >= 0)
                close(fd);
        unlink(path);
        return rc;
}

static void a_key_file_holds_one_key_and_is_its_owners_alone(void)
{
        static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
        static const char base64[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        static const struct {
                const char *text;
                mode_t mode;
                int rc;
                const char *word;
        } row[] = {
                {hex, 0600, 0, ""},
                {base64, 0400, 0, ""},
                {hex, 0640, -EACCES, "chmod 600"},
                {hex, 0604, -EACCES, "chmod 600"},
                {hex, 0602, -EACCES, "chmod 600"},
                {"", 0600, -EINVAL, "openssl rand"},
                {"00", 0600, -EINVAL, "openssl rand"},
                {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00", 0600, -EINVAL,
                 "openssl"},
                {"zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0600, -EINVAL,
                 "openssl"},
                {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f x", 0600, -EINVAL,
                 "openssl"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                uint8_t key[DOG_SECRET_KEY];
                struct dog_err e = {0};
                int rc = secret_of(row[i].text, row[i].mode, key, &e);
                OK(rc == row[i].rc, "row %zu: %d: %s", i, rc, e.text);
                OK(rc == 0 ? key[31] == 0x1f : strstr(e.text, row[i].word) != NULL, "row %zu: %s", i, e.text);
        }
        struct dog_err e = {0};
        OK(dog_secret_open("/nowhere/key", &e) == -ENOENT && strstr(e.text, "/nowhere/key"), "%s", e.text);
        OK(dog_secret_open("/tmp", &e) == -EINVAL, "a folder is no key: %s", e.text);
}

/* --------------------------------------------------------------------------------- client */

struct fake_hands {
        int fd;
        enum { ANSWER, ANSWER_OLD, ANSWER_SHORT, CLOSE } how;
};

static void *fake_hands_run(void *data)
{
        struct fake_hands *f = data;
        struct dog_hands_request q;
        struct dog_hands_reply r = {.version = DOG_HANDS_VERSION, .rc = -EBUSY};
        if (recv(f->fd, &q, sizeof(q), 0) != (ssize_t)sizeof(q))
                return NULL;
        r.op = q.op;
        r.id = f->how == ANSWER_OLD ? q.id + 1 : q.id;
        snprintf(r.text, sizeof(r.text), "busy as said");
        if (f->how != CLOSE)
                send(f->fd, &r, f->how == ANSWER_SHORT ? 10 : sizeof(r), MSG_NOSIGNAL);
        close(f->fd);
        return NULL;
}

static int call_with(int how, struct dog_err *e, bool *lost)
{
        int pair[2];
        pthread_t thread;
        struct dog_hands_client c;
        struct dog_hands_request q = good_device();
        struct dog_hands_reply r;
        NEED(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "a socketpair");
        struct fake_hands f = {.fd = pair[1]};
        f.how = (typeof(f.how))how;
        dog_hands_client_init(&c, pair[0]);
        pthread_create(&thread, NULL, fake_hands_run, &f);
        int rc = dog_hands_call(&c, &q, &r, NULL, e);
        pthread_join(thread, NULL);
        int again = dog_hands_call(&c, &q, &r, NULL, NULL);
        *lost = again == -EPIPE && c.is_lost;
        dog_hands_client_fini(&c);
        return rc;
}

static void a_call_tells_what_hands_said_or_that_it_is_gone(void)
{
        struct dog_err e = {0};
        bool lost;
        OK(call_with(ANSWER, &e, &lost) == -EBUSY && strcmp(e.text, "busy as said") == 0,
           "its errno and its sentence");
        OK(call_with(ANSWER_OLD, &e, &lost) == -EBADMSG, "an answer to something else: %s", e.text);
        OK(call_with(ANSWER_SHORT, &e, &lost) == -EMSGSIZE, "a short answer: %s", e.text);
        OK(call_with(CLOSE, &e, &lost) == -EPIPE && lost, "end of file, and every call after it: %s", e.text);
}

/* --------------------------------------------------------------------------------- helpers */

/* Says, for each datagram, how many descriptors it has, and whether it could get privileges back. */
static int helper_counts(int fd, const void *data)
{
        char byte;
        while (recv(fd, &byte, 1, 0) == 1) {
                int say[2] = {0, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)};
                for (int i = 3; i < 256; i++)
                        say[0] += fcntl(i, F_GETFD) >= 0;
                send(fd, say, sizeof(say), 0);
        }
        return *(const int *)data;
}

static void a_helper_holds_one_socket_and_ends_when_it_is_closed(void) /* F3 */
{
        static const int status_wanted = 7;
        struct dog_hands_helper h = {.name = "counts", .run = helper_counts, .data = &status_wanted};
        struct dog_err e = {0};
        int fd = -1, pid = 0, status = 0, say[2] = {0};
        int open_here = open("/dev/null", O_RDONLY);
        NEED(dog_helper_start(&h, &fd, &pid, &e) == 0, "%s", e.text);
        struct pollfd p = {.fd = fd, .events = POLLIN};
        NEED(send(fd, "?", 1, 0) == 1 && poll(&p, 1, 20000) == 1, "it answers");
        NEED(recv(fd, say, sizeof(say), 0) == (ssize_t)sizeof(say), "two numbers");
        OK(say[0] == 1, "%d descriptors beside the standard ones", say[0]);
        OK(say[1] == 1, "no new privileges, for ever");
        close(fd);
        OK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == status_wanted,
           "it ended by itself: status %x", (unsigned)status);
        close(open_here);
}

static void what_dies_again_waits_longer(void)
{
        int64_t second = DOG_S;
        int pause_ms = dog_split_pause_ms(0, second);
        OK(pause_ms == 100, "the first time %d ms", pause_ms);
        pause_ms = dog_split_pause_ms(pause_ms, second);
        OK(pause_ms == 200, "then %d", pause_ms);
        for (int i = 0; i < 20; i++)
                pause_ms = dog_split_pause_ms(pause_ms, second);
        OK(pause_ms == 30000, "%d at most", pause_ms);
        OK(dog_split_pause_ms(pause_ms, 61 * second) == 100, "who lived a minute begins anew");
}

/* ------------------------------------------------------------------------- maps of old runs */

/* struct { u32 <first>; u64 <second>; } with the second at `bits`. */
static uint64_t layout_of(const char *first, const char *second, uint32_t bits, int typedefs)
{
        struct btf *btf = btf__new_empty();
        int u32 = btf__add_int(btf, "unsigned int", 4, 0);
        int u64 = btf__add_int(btf, "unsigned long", 8, 0);
        int second_type = typedefs ? btf__add_const(btf, u64) : u64;
        int key = typedefs ? btf__add_typedef(btf, "key_t", u32) : u32;
        int value = btf__add_struct(btf, typedefs ? "other_name" : "value", 16);
        btf__add_field(btf, first, u32, 0, 0);
        btf__add_field(btf, second, second_type, bits, 0);
        uint64_t layout = dog_btf_layout(btf, (uint32_t)key, (uint32_t)value);
        btf__free(btf);
        return layout;
}

static void a_map_of_another_layout_is_told_from_one_of_the_same_size(void)
{
        uint64_t is = layout_of("subset", "next", 64, 0);
        OK(is != 0 && is == layout_of("subset", "next", 64, 0), "the same is the same");
        OK(is == layout_of("subset", "next", 64, 1), "whatever the types are called");
        OK(is != layout_of("next", "subset", 64, 0), "fields that changed places");
        OK(is != layout_of("subset", "last", 64, 0), "a field of another meaning");
        OK(is != layout_of("subset", "next", 32, 0), "a field that moved");
        OK(dog_btf_layout(NULL, 1, 1) == 0, "nothing is known without types");
}

static int link_read(void *user, struct dog_err *e)
{
        struct dog_link l;
        return dog_link_get(&l, user, e);
}

static int watch_open(void *user, struct dog_err *e)
{
        struct dog_netlink_watch *w = NULL;
        (void)user;
        int rc = dog_netlink_watch_open(&w, e);
        if (rc == 0)
                dog_netlink_watch_close(w);
        return rc;
}

static void memory_that_is_refused_is_told(void)
{
        char lo[] = "lo";
        OK(alloc_fail_each(link_read, lo) >= 1, "reading a device");
        OK(alloc_fail_each(watch_open, NULL) >= 1, "watching the network");
}

static void a_kernel_that_lacks_something_is_told_in_one_sentence(void)
{
        char text[256];
        OK(dog_kernel_missing(DOG_KERNEL_ALL, text, sizeof(text))[0] == 0, "nothing is missing: %s", text);
        for (uint32_t bit = 0; bit < DOG_KERNEL_BITS; bit++)
                OK(strncmp(dog_kernel_missing(DOG_KERNEL_ALL & ~(1u << bit), text, sizeof(text)),
                           "this kernel lacks ", 18) == 0,
                   "bit %u", bit);
        OK(strstr(dog_kernel_missing(DOG_KERNEL_ALL & ~DOG_KERNEL_XDP_LINK, text, sizeof(text)),
                  "bpf_link") != NULL,
           "%s", text);
}

int main(void)
{
        return CHECK_RUN(TEST(a_good_request_is_read), TEST(a_request_of_another_length_is_refused),
                         TEST(a_request_of_another_version_or_operation_is_refused),
                         TEST(a_name_that_could_be_a_path_is_refused),
                         TEST(a_number_or_a_list_out_of_range_is_refused),
                         TEST(a_byte_that_means_nothing_must_be_zero),
                         TEST(a_reply_to_another_question_is_refused),
                         TEST(what_the_policy_does_not_name_is_refused),
                         TEST(a_policy_that_cannot_be_meant_is_refused), TEST(addresses_are_read_and_written),
                         TEST(a_key_file_holds_one_key_and_is_its_owners_alone),
                         TEST(a_call_tells_what_hands_said_or_that_it_is_gone),
                         TEST(a_helper_holds_one_socket_and_ends_when_it_is_closed),
                         TEST(what_dies_again_waits_longer),
                         TEST(a_map_of_another_layout_is_told_from_one_of_the_same_size),
                         TEST(memory_that_is_refused_is_told),
                         TEST(a_kernel_that_lacks_something_is_told_in_one_sentence));
}
