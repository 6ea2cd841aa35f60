/* sundog-agent without its sockets. I1: what /proc says. I7: the connection state manager, with and without a
 * front. I13: pages of the connection map. */
#include "agent/config.h"
#include "agent/link.h"
#include "agent/proc.h"
#include "agent/table.h"
#include "agent/view.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "check.h"
#include "sources/agent.h"

#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- /proc, as recorded on a kernel 6.1 and shortened ---- */

static void the_processor_times_are_read(void)
{
        struct dog_counters c = dog_counters_unknown(0);
        double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
        agent_proc_stat("cpu  556913 13521 254483 1856982 13741 0 70179 1451 0 0\n"
                        "cpu0 261272 6480 123640 944906 3143 0 42299 735 0 0\n"
                        "cpu1 295641 7040 130842 912076 10598 0 27880 716 0 0\n"
                        "intr 25646899 0 0\nctxt 53955002\n",
                        &c);
        OK(NEAR(c.cpu_total_s, 2767270 * tick_s, 1e-6), "all: %f", c.cpu_total_s);
        OK(NEAR(c.cpu_busy_s, (556913 + 13521 + 254483 + 70179 + 1451) * tick_s, 1e-6), "busy: %f",
           c.cpu_busy_s);
        OK(NEAR(c.cpu_steal_s, 1451 * tick_s, 1e-6) && c.processors == 2, "steal, processors");
        c = dog_counters_unknown(0);
        agent_proc_stat("cpu  5 1 2", &c);
        OK(isnan(c.cpu_total_s), "a cut line makes no number up");
        agent_proc_stat("", &c);
        OK(isnan(c.cpu_total_s) && isnan(c.processors), "nothing");
}

static void memory_load_and_files_are_read(void)
{
        struct dog_counters c = dog_counters_unknown(0);
        agent_proc_meminfo("MemTotal:       24684096 kB\nMemFree:        22602776 kB\n"
                           "MemAvailable:   23946356 kB\n",
                           &c);
        OK(c.memory_total == 24684096.0 * 1024 && c.memory_left == 23946356.0 * 1024, "memory");
        agent_proc_loadavg("1.69 2.40 2.11 5/401 91023\n", &c);
        OK(c.load1 == 1.69, "load");
        agent_proc_file_nr("1472\t0\t9223372036854775807\n", &c);
        OK(c.files == 1472 && c.files_most > 9e18, "files");
        agent_proc_meminfo("MemTotal: kB\n", &c);
        OK(isnan(c.memory_total), "no number");
}

static void pressure_is_read_where_there_is_any(void)
{
        double average = (double)NAN, total_s = (double)NAN;
        agent_proc_pressure("some avg10=17.42 avg60=9.01 avg300=4.00 total=123456789\n"
                            "full avg10=90.00 avg60=0.00 avg300=0.00 total=5\n",
                            &average, &total_s);
        OK(NEAR(average, .1742, 1e-9) && NEAR(total_s, 123.456789, 1e-9), "%g, %g s", average, total_s);
        average = total_s = (double)NAN;
        agent_proc_pressure("full avg10=90.00 total=5\n", &average, &total_s);
        OK(isnan(average) && isnan(total_s), "\"full\" is not \"some\"");
        agent_proc_pressure("some\nfull avg10=90.00 total=5\n", &average, &total_s);
        OK(isnan(average) && isnan(total_s), "nor the next line's");
}

static void disks_are_read_and_loops_are_none(void)
{
        struct dog_counters c = dog_counters_unknown(0);
        agent_proc_diskstats("   7       0 loop0 5 0 0 0 0 0 0 0 0 99 0 0 0 0 0 0 0\n"
                             " 254       0 vda 51 2 3 4 5 6 7 8 0 1234 11 0 0 0 0 0 0\n"
                             " 259       0 nvme0n1 1 2 3 4 5 6 7 8 9 77 11\n"
                             " 259       1 cut 1 2 3",
                             &c);
        OK(c.disks == 2 && strcmp(c.disk[0].name, "vda") == 0 && c.disk[0].busy_ms == 1234 &&
                   c.disk[1].busy_ms == 77,
           "%u disks", c.disks);
}

static void devices_are_summed_without_loopback(void)
{
        struct dog_counters c = dog_counters_unknown(0);
        agent_proc_net_dev("Inter-|   Receive                                                |  Transmit\n"
                           " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
                           "packets errs drop fifo\n"
                           "    lo: 635127057  142043    0    0    0     0          0         0 635127057  "
                           "142043    0    0\n"
                           "  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n"
                           "eth1:1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
                           &c);
        OK(c.rx_bytes == 1001 && c.tx_bytes == 2001 && c.rx_packets == 11 && c.tx_packets == 21 &&
                   c.net_errors == 4 && c.net_drops == 6,
           "%g %g", c.rx_bytes, c.tx_bytes);
}

static void tcp_counters_are_found_by_name(void)
{
        static const char snmp[] =
                "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
                "Tcp: RtoAlgorithm RtoMin MaxConn ActiveOpens InSegs OutSegs RetransSegs InErrs\n"
                "Tcp: 1 200 -1 7 100 200 3 0\n";
        OK(agent_proc_mib(snmp, "Tcp:", "OutSegs") == 200, "sent");
        OK(agent_proc_mib(snmp, "Tcp:", "RetransSegs") == 3, "sent again");
        OK(isnan(agent_proc_mib(snmp, "Tcp:", "Retrans")), "a part of a name is none");
        OK(isnan(agent_proc_mib(snmp, "Tcp:", "MaxConn")), "-1 is no count");
        OK(isnan(agent_proc_mib("Tcp: OutSegs\n", "Tcp:", "OutSegs")), "cut");
}

static void only_local_file_systems_that_can_fill_up_count(void)
{
        const char *text = "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
                           "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
                           "28 27 7:1 / /snap/x ro,nodev - squashfs /dev/loop1 ro\n"
                           "29 27 254:1 / /srv/my\\040files rw shared:5 master:2 - xfs /dev/vdb rw\n"
                           "33 27 254:2 / /usr ro,relatime - ext4 /dev/vdc rw,discard\n"
                           "34 27 254:3 / /old rw - ext4 /dev/vdd ro\n"
                           "30 27 0:55 / /mnt/far rw - nfs4 there:/x rw\n"
                           "31 27 0:5 / /tmp rw - tmpfs tmpfs rw\n"
                           "32 garbage\n";
        char where[64];
        OK(agent_proc_mount_next(&text, where, sizeof(where)) && strcmp(where, "/") == 0, "%s", where);
        OK(agent_proc_mount_next(&text, where, sizeof(where)) && strcmp(where, "/srv/my files") == 0, "%s",
           where);
        OK(agent_proc_mount_next(&text, where, sizeof(where)) && strcmp(where, "/usr") == 0,
           "read-only for us, as in a service's sandbox, but it may fill up: %s", where);
        OK(!agent_proc_mount_next(&text, where, sizeof(where)), "no more");
}

static void what_the_kernel_does_not_tell_is_said(void)
{
        static struct dog_counters c;
        char text[256];
        agent_proc_read(&c, 5);
        OK(c.cpu_total_s > 0 && c.memory_left > 0 && c.load1 >= 0 && c.at_ns == 5, "this host's");
        c.stall_cpu = (double)NAN;
        agent_proc_missing(&c, text, sizeof(text));
        OK(strstr(text, "CONFIG_PSI"), "%s", text);
        c = dog_counters_unknown(0);
        agent_proc_missing(&c, text, sizeof(text));
        OK(strstr(text, "open files"), "%s", text);
}

/* ---- the table ---- */

static struct agent_diag_socket socket_of(unsigned n, uint8_t state)
{
        struct agent_diag_socket s = {
                .state = state, .acked = 1000, .received = 10, .rtt_us = 100 * (n + 1), .segments = 100};
        s.flow = (struct dog_agent_flow){.local_port = 80, .remote_port = (uint16_t)(2000 + n)};
        s.flow.local[10] = s.flow.local[11] = s.flow.remote[10] = s.flow.remote[11] = 0xff;
        s.flow.remote[15] = 7;
        return s;
}

static struct dog_vitals read_n(struct agent_table *t, unsigned n, int64_t now_ns, uint64_t acked)
{
        struct dog_vitals v = dog_vitals_unknown();
        agent_table_begin(t, now_ns);
        for (unsigned i = 0; i < n; i++) {
                struct agent_diag_socket s = socket_of(i, TCP_ESTABLISHED);
                s.acked = acked;
                agent_table_see(t, &s);
        }
        agent_table_end(t, true, &v);
        return v;
}

static void sockets_become_vitals(void)
{
        struct agent_table *t;
        NEED(agent_table_new(&t, 100, NULL) == 0, "made");
        struct dog_vitals v = dog_vitals_unknown();
        agent_table_begin(t, DOG_S);
        struct agent_diag_socket s = {.state = TCP_LISTEN, .in_queue = 3, .unsent = 4};
        agent_table_see(t, &s);
        s = (struct agent_diag_socket){.state = TCP_LISTEN, .in_queue = 1, .unsent = 128};
        agent_table_see(t, &s);
        for (unsigned i = 0; i < 5; i++) {
                s = socket_of(i, i < 3 ? TCP_ESTABLISHED : i == 3 ? TCP_SYN_RECV : TCP_CLOSE_WAIT);
                agent_table_see(t, &s);
        }
        agent_table_end(t, true, &v);
        OK(v.value[DOG_VITAL_ACCEPT] == .75 && v.value[DOG_VITAL_WAITING] == 4, "accept queues");
        OK(v.value[DOG_VITAL_CONNS] == 3 && v.value[DOG_VITAL_HALF_OPEN] == 1 &&
                   v.value[DOG_VITAL_CLOSING] == 1,
           "by state");
        OK(v.value[DOG_VITAL_CONN_RTT] == .2, "the median: %g", v.value[DOG_VITAL_CONN_RTT]);
        OK(isnan(v.value[DOG_VITAL_SERVED_RATE]), "no rate yet");
        OK(dog_conn_map_count(agent_table_map(t)) == 4, "half-open ones are counted, not kept");
        agent_table_begin(t, 3 * DOG_S);
        s = socket_of(0, TCP_ESTABLISHED);
        s.acked = 5000, s.segments = 140, s.resent = 10;
        agent_table_see(t, &s);
        v = dog_vitals_unknown();
        agent_table_end(t, true, &v);
        OK(v.value[DOG_VITAL_SERVED_RATE] == 2000 && v.value[DOG_VITAL_CONN_RESENT] == .25, "rates");
        agent_table_free(t);
}

static void connections_open_close_and_are_forgotten(void)
{
        struct agent_table *t;
        struct agent_table_counts n;
        NEED(agent_table_new(&t, 100, NULL) == 0, "made");
        read_n(t, 10, DOG_S, 0);
        read_n(t, 4, 2 * DOG_S, 0);
        agent_table_count(t, &n);
        OK(n.open == 4 && n.closed == 6 && n.opened_ever == 10 && n.closed_ever == 6, "%u open, %u closed",
           n.open, n.closed);
        struct dog_vitals v = dog_vitals_unknown();
        agent_table_begin(t, 3 * DOG_S);
        agent_table_end(t, false, &v);
        agent_table_count(t, &n);
        OK(n.open == 4 && isnan(v.value[DOG_VITAL_CONNS]), "a listing that broke off closes nothing");
        read_n(t, 5, 4 * DOG_S, 0);
        agent_table_count(t, &n);
        OK(n.open == 5 && n.opened_ever == 11, "a connection with the same address is another one");
        read_n(t, 5, 70 * DOG_S, 0);
        agent_table_count(t, &n);
        OK(n.closed == 0, "closed ones are forgotten after a minute");
        agent_table_free(t);
}

static void pages_tell_changes_first_and_then_everything(void)
{
        struct agent_table *t;
        static struct dog_agent_conns page;
        unsigned told = 0, pages = 0;
        NEED(agent_table_new(&t, 1000, NULL) == 0, "made");
        read_n(t, 100, DOG_S, 0);
        while (agent_table_page(t, &page, 2 * DOG_S)) {
                OK(page.count <= 24 && page.conn[0].age_ms == 1000, "a page of %u", page.count);
                told += page.count;
                pages++;
        }
        OK(told == 200 && pages == 10, "the changes, and one pass: %u in %u pages", told, pages);
        OK(!agent_table_page(t, &page, 2 * DOG_S), "and that was all for this reading");
        read_n(t, 99, 3 * DOG_S, 0);
        OK(agent_table_page(t, &page, 3 * DOG_S) && page.count == 1 && page.conn[0].is_closed,
           "one has closed");
        told = 0;
        while (agent_table_page(t, &page, 3 * DOG_S)) {
                told += page.count;
                OK(page.round == 1, "the next pass");
        }
        OK(told == 99, "closed ones are told once: %u", told);
        agent_table_free(t);
}

static void fronts_tell_the_status(void)
{
        struct agent_table *t;
        struct agent_table_counts n;
        NEED(agent_table_new(&t, 100, NULL) == 0, "made");
        read_n(t, 3, DOG_S, 0);
        agent_table_count(t, &n);
        OK(n.by_status[DOG_AGENT_UNTOLD] == 3, "nobody has said anything");
        struct dog_agent_told told = {.flow = socket_of(0, 1).flow, .status = DOG_AGENT_PRIMARY};
        agent_table_tell(t, &told, 0, DOG_S);
        told.status = DOG_AGENT_FOREIGN;
        agent_table_tell(t, &told, 1, 2 * DOG_S);
        const struct dog_conn_entry *entry = dog_conn_map_find(agent_table_map(t), &told.flow);
        OK(entry->status == DOG_AGENT_PRIMARY && entry->status_ns == DOG_S, "another front does not know it");
        told.status = DOG_AGENT_PROMOTED_AWAY;
        agent_table_tell(t, &told, 1, 3 * DOG_S);
        OK(entry->status == DOG_AGENT_PROMOTED_AWAY && entry->status_ns == 3 * DOG_S,
           "a promotion elsewhere");
        told.flow.remote_port = 9;
        agent_table_tell(t, &told, 0, DOG_S);
        agent_table_count(t, &n);
        OK(n.open == 3, "a connection that is not here is not made");
        agent_table_free(t);
}

/* ---- the link: a real front on the other side ---- */

struct rig {
        struct agent_config config;
        struct agent_link *link;
        struct agent_table *table;
        struct dog_agents *agents;
        int64_t now_ns, wall_ns;
        bool is_cut;
        unsigned sent, words;
        int64_t sent_ns;
};

static bool rig_send(void *user, unsigned front, const void *packet, size_t size)
{
        struct rig *r = user;
        uint8_t reply[DOG_AGENT_MOST];
        size_t reply_size = 0;
        r->sent++;
        r->sent_ns = r->now_ns;
        if (r->is_cut)
                return true;
        dog_agents_take(r->agents, NULL, packet, size, r->now_ns, r->wall_ns + DOG_MS, reply, &reply_size);
        if (reply_size > 0)
                agent_link_take(r->link, front, r->table, reply, reply_size, r->now_ns + 2 * DOG_MS,
                                r->wall_ns + 2 * DOG_MS);
        return true;
}

static void rig_word(void *user, const struct dog_agent_word *w)
{
        struct rig *r = user;
        r->words++;
        OK(w->vitals.value[DOG_VITAL_CPU] == .5, "as it was read");
}

static enum dog_agent_status rig_status(void *user, const char *instance, void *tag,
                                        const struct dog_agent_flow *flow)
{
        (void)user, (void)instance, (void)tag, (void)flow;
        return DOG_AGENT_STANDBY;
}

static void rig_begin(struct rig *r, int64_t rate)
{
        static const uint8_t secret[32] = {5};
        struct dog_err e = {0};
        *r = (struct rig){.now_ns = 100 * DOG_S, .wall_ns = 1700000000 * DOG_S};
        dog_log_level_set(DOG_LOG_ERROR);
        r->config = (struct agent_config){.name = "web1", .fronts = 1, .period_ns = DOG_S, .rate = rate};
        NEED(agent_address_read(&r->config.front[0], "10.0.0.1", &e) == 0, "%s", e.text);
        struct agent_link_conf link = {.config = &r->config, .secret = secret, .send = rig_send, .user = r};
        struct dog_agents_conf agents = {
                .fd = -1, .wants_conns = true, .word = rig_word, .status = rig_status, .user = r};
        NEED(agent_table_new(&r->table, 1000, &e) == 0 && agent_link_new(&r->link, &link, &e) == 0 &&
                     dog_agents_new(&r->agents, &agents, &e) == 0 &&
                     dog_agents_add(r->agents, "web1", secret, NULL, &e) == 0,
             "%s", e.text);
}

static void rig_end(struct rig *r)
{
        agent_link_free(r->link);
        agent_table_free(r->table);
        dog_agents_free(r->agents);
}

static void rig_tick(struct rig *r, unsigned conns)
{
        struct dog_vitals v = read_n(r->table, conns, r->now_ns, 0);
        v.value[DOG_VITAL_CPU] = .5;
        agent_link_tick(r->link, r->table, &v, 2, r->now_ns, r->wall_ns);
        for (int i = 0; i < 10; i++) {
                r->now_ns += DOG_S / 10;
                r->wall_ns += DOG_S / 10;
                agent_link_more(r->link, r->table, r->now_ns, r->wall_ns);
        }
}

static void agent_and_front_know_the_same_connections(void)
{
        struct rig r;
        rig_begin(&r, 100);
        for (int i = 0; i < 3; i++)
                rig_tick(&r, 200);
        const struct agent_link_front *f = agent_link_front(r.link, 0);
        OK(r.words == 3 && !f->is_away && f->wants_conns && f->rtt_ns == 2 * DOG_MS, "answered");
        OK(dog_conn_map_count(dog_agents_conns(r.agents, 0)) == 200, "the front has all 200");
        struct agent_table_counts n;
        agent_table_count(r.table, &n);
        OK(n.by_status[DOG_AGENT_STANDBY] == 200, "and the agent what they are: %u",
           n.by_status[DOG_AGENT_STANDBY]);
        rig_end(&r);
}

static void the_limit_on_sending_is_kept(void)
{
        struct rig r;
        rig_begin(&r, 5);
        for (int i = 0; i < 10; i++)
                rig_tick(&r, 500);
        OK(r.sent <= 52, "%u datagrams in 10 s, the limit is 5 a second and 2 at once", r.sent);
        OK(r.words == 10, "reports come before pages");
        rig_end(&r);
}

static void an_absent_front_is_asked_less_and_less_and_found_again(void)
{
        struct rig r;
        rig_begin(&r, 100);
        rig_tick(&r, 10);
        r.is_cut = true;
        r.sent = 0;
        for (int i = 0; i < 300; i++)
                rig_tick(&r, 10);
        const struct agent_link_front *f = agent_link_front(r.link, 0);
        OK(f->is_away, "away");
        OK(r.sent >= 12 && r.sent <= 60, "%u datagrams in 5 min", r.sent);
        struct agent_table_counts n;
        agent_table_count(r.table, &n);
        OK(n.open == 10 && n.by_status[DOG_AGENT_STANDBY] == 10, "what was told last stands");
        r.is_cut = false;
        int seconds = 0;
        while (f->is_away && seconds++ < 40)
                rig_tick(&r, 10);
        OK(seconds <= 31, "back after %d s", seconds);
        unsigned words = r.words;
        for (int i = 0; i < 5; i++)
                rig_tick(&r, 10);
        OK(r.words == words + 5, "and everything as before");
        rig_end(&r);
}

static void what_a_front_did_not_seal_is_not_taken(void)
{
        struct rig r;
        rig_begin(&r, 100);
        uint8_t junk[100] = "SDA1\3";
        memcpy(junk + 32, "web1", 4);
        OK(agent_link_take(r.link, 0, r.table, junk, sizeof(junk), r.now_ns, r.wall_ns) == DOG_AGENT_BAD_TAG,
           "junk");
        OK(agent_link_front(r.link, 0)->dropped[DOG_AGENT_BAD_TAG] == 1, "counted");
        rig_end(&r);
}

static json_t *answer_of(const struct agent_view *view, const char *ask)
{
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        NEED(to, "memory");
        agent_view_write(view, ask, to);
        fclose(to);
        json_t *answer = json_loads(text, 0, NULL);
        NEED(answer && text[size - 1] == '\n' && strchr(text, '\n') == text + size - 1, "one line: %s", text);
        free(text);
        return answer;
}

static void a_view_says_what_there_is(void)
{
        struct rig r;
        rig_begin(&r, 100);
        rig_tick(&r, 2);
        struct dog_vitals v = dog_vitals_unknown();
        struct dog_agent_shim shim = {.state = DOG_AGENT_SHIM_NO_COOKIES};
        struct agent_view view = {.config = &r.config,
                                  .shim = &shim,
                                  .link = r.link,
                                  .table = r.table,
                                  .vitals = &v,
                                  .now_ns = r.now_ns,
                                  .started_ns = 1,
                                  .missing = "",
                                  .sockets = ""};
        json_t *status = answer_of(&view, "status"), *conns = answer_of(&view, "conns");
        const json_t *list = json_object_get(conns, "answer"), *one = json_array_get(list, 0);
        OK(json_array_size(list) == 2, "two connections");
        OK(strcmp(json_string_value(json_object_get(one, "status")), "standby") == 0, "their status");
        OK(strcmp(json_string_value(json_object_get(one, "front")), "10.0.0.1:7482") == 0, "and who said so");
        const json_t *vitals = json_object_get(json_object_get(status, "answer"), "vitals");
        OK(json_is_null(json_object_get(vitals, "cpu")), "unknown is null");
        const char *why = json_string_value(json_object_get(json_object_get(status, "answer"), "shim"));
        OK(why && strcmp(why, "no-syncookies") == 0, "why there is no shim: %s", why ? why : "nothing");
        json_t *no = answer_of(&view, "nonsense");
        OK(json_is_false(json_object_get(no, "ok")), "no such question");
        json_decref(no);
        json_decref(status);
        json_decref(conns);
        rig_end(&r);
}

/* ---- configuration ---- */

static void a_configuration_is_read_with_its_presets(void)
{
        static const char text[] =
                "name: web1\nfronts: [10.0.0.1, \"[fd00::1]:99\"]\nports: [80, 443]\nperiod: 500ms\n";
        struct agent_config c;
        struct dog_err e = {0};
        NEED(agent_config_parse(&c, text, strlen(text), "x.yaml", &e) == 0, "%s", e.text);
        OK(c.fronts == 2 && strcmp(c.front[0].text, "10.0.0.1:7482") == 0 &&
                   strcmp(c.front[1].text, "[fd00::1]:99") == 0,
           "%s", c.front[1].text);
        OK(c.ports == 2 && c.port[1] == 443 && c.period_ns == 500 * DOG_MS && c.rate == 100, "numbers");
        OK(strcmp(c.key, "/etc/sundog/agent.key") == 0 && strcmp(c.socket, AGENT_CONFIG_SOCKET) == 0,
           "presets");
        OK(agent_config_parse(&c, "", 0, "x.yaml", &e) == 0 && c.fronts == 0 && c.name[0], "an empty one");
        OK(c.shim_devices == 0 && strcmp(c.shim_pins, AGENT_CONFIG_PINS) == 0, "no shim unless asked for");
        static const char shim[] = "shim_devices: [eth0]\nshim_key_file: /k\n"
                                   "shim_services: [\"web=10.0.0.5:80\", \"web6=[fd00::5]:81\"]\n";
        NEED(agent_config_parse(&c, shim, strlen(shim), "x.yaml", &e) == 0, "%s", e.text);
        OK(c.shim_devices == 1 && c.shim_services == 2 && !strcmp(c.shim_service[1].vip, "web6") &&
                   c.shim_service[1].address.version == 6 && c.shim_service[1].port == 81 &&
                   c.shim_service[0].address.bytes[3] == 5 && c.shim_service[0].port == 80,
           "the shim");
}

static void a_wrong_configuration_gets_one_sentence_with_its_place(void)
{
        static const struct {
                const char *text, *want;
        } row[] = {
                {"nmae: x\n", "x.yaml:1:1: unknown key \"nmae\""},
                {"name: x\nname: y\n", "x.yaml:2:1: name is said twice"},
                {"name: a b\n", "x.yaml:1:7: name: \"a b\" is no name"},
                {"fronts: [web.example]\n", "x.yaml:1:10: fronts: \"web.example\" is no address"},
                {"fronts: [10.0.0.1:0]\n", "is no address"},
                {"fronts: [10.0.0.1, \"10.0.0.1:7482\"]\n", "listed twice"},
                {"fronts: [1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4,1.1.1.5,1.1.1.6,1.1.1.7,1.1.1.8,1.1.1.9]\n",
                 "more than 8"},
                {"ports: [0]\n", "is no TCP port"},
                {"ports: [80, 80]\n", "listed twice"},
                {"ports:\n  a: 1\n", "ports: a short text or number is expected"},
                {"period: 5\n", "period"},
                {"period: 1ms\n", "out of range: 100ms to 60.0s"},
                {"rate: lots\n", "is no whole number"},
                {"rate: 1\n", "out of range: 2 to 10000"},
                {"shim_devices: [eth0]\n", "shim_services is missing"},
                {"shim_services: [\"web=10.0.0.5:80\"]\n", "shim_devices is missing"},
                {"shim_devices: [eth0]\nshim_services: [\"web=10.0.0.5:80\"]\n", "shim_key_file is missing"},
                {"shim_devices: [eth0, eth0]\n", "device eth0 is listed twice"},
                {"shim_devices: [a-name-that-is-too-long]\n", "is no name of a device"},
                {"shim_services: [\"10.0.0.5:80\"]\n", "is no service: write VIP=ADDRESS:PORT"},
                {"shim_services: [\"web=10.0.0.5\"]\n", "is no service"},
                {"shim_services: [\"web=fd00::5\"]\n", "is no service"},
                {"shim_services: [\"web=\"]\n", "is no service"},
                {"shim_services: [\"a=10.0.0.5:80\", \"b=10.0.0.5:80\"]\n", "10.0.0.5:80 is listed twice"},
                {"- a\n", "keys and values are expected"},
                {"name: [\n", "x.yaml:2:1:"},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct agent_config c;
                struct dog_err e = {0};
                OK(agent_config_parse(&c, row[i].text, strlen(row[i].text), "x.yaml", &e) < 0, "%s",
                   row[i].text);
                OK(strstr(e.text, row[i].want) && strchr(e.text, '\n') == NULL, "%s gave: %s", row[i].text,
                   e.text);
        }
        struct agent_config c;
        struct dog_err e = {0};
        OK(agent_config_load(&c, "/nonexistent", &e) < 0 && strstr(e.text, "/nonexistent: cannot be read"),
           "%s", e.text);
}

int main(void)
{
        if (sodium_init() < 0)
                return 1;
        return CHECK_RUN(TEST(the_processor_times_are_read), TEST(memory_load_and_files_are_read),
                         TEST(pressure_is_read_where_there_is_any), TEST(disks_are_read_and_loops_are_none),
                         TEST(devices_are_summed_without_loopback), TEST(tcp_counters_are_found_by_name),
                         TEST(only_local_file_systems_that_can_fill_up_count),
                         TEST(what_the_kernel_does_not_tell_is_said), TEST(sockets_become_vitals),
                         TEST(connections_open_close_and_are_forgotten),
                         TEST(pages_tell_changes_first_and_then_everything), TEST(fronts_tell_the_status),
                         TEST(agent_and_front_know_the_same_connections), TEST(the_limit_on_sending_is_kept),
                         TEST(an_absent_front_is_asked_less_and_less_and_found_again),
                         TEST(what_a_front_did_not_seal_is_not_taken), TEST(a_view_says_what_there_is),
                         TEST(a_configuration_is_read_with_its_presets),
                         TEST(a_wrong_configuration_gets_one_sentence_with_its_place));
}
