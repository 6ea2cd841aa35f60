/*
 * Reading what radios tell. F3: signals from outside are taken in, by their units and ranges. I14: what is
 * not in the format, or not possible, is refused and counted.
 */
#include "alloc_fail.h"
#include "base/array.h"
#include "base/clock.h"
#include "check.h"
#include "sources/radio.h"
#include "sources/radio_read.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct dog_radio_read read_of(const char *text)
{
        struct dog_radio_read r;
        dog_radio_read_init(&r);
        dog_radio_read_text(&r, text, strlen(text), 100 * DOG_S);
        return r;
}

static void keys_with_values_are_read_in_any_dress(void)
{
        static const char *const same[] = {
                "rsrp_dbm -97 sinr_db 4.5 technology lte outage 0",
                "rsrp_dbm=-97, sinr_db=4.5; technology: LTE\toutage=false",
                "# a modem\nrsrp_dbm -97\nsinr_db 4.5 # at the window\ntechnology lte\noutage 0\n\n",
                "rsrp_dbm -50 rsrq_db -3\n\nrsrp_dbm -97\r\nsinr_db 4.5\r\ntechnology lte\r\noutage 0\r\n",
                "{\"rsrp_dbm\": -97, \"sinr_db\": \"4.5\", \"technology\": \"lte\", \"outage\": false}",
                "{\n \"rsrp_dbm\": -97,\n \"sinr_db\": 4.5,\n \"technology\": \"lte\", \"outage\": 0, "
                "\"rssi_dbm\": null\n}",
                "{\"rsrq_db\": -3}\n{\"rsrp_dbm\": -97, \"sinr_db\": 4.5, \"technology\": \"lte\", "
                "\"outage\": false}\n",
        };
        for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
                struct dog_radio_read r = read_of(same[i]);
                OK(r.reading.rsrp_dbm == -97 && r.reading.sinr_db == 4.5F &&
                           r.reading.technology == DOG_RADIO_LTE && r.reading.has_outage &&
                           !r.reading.is_outage && isnan(r.reading.rsrq_db) && isnan(r.reading.signal),
                   "%s", same[i]);
                OK(r.malformed == 0 && r.impossible == 0, "%s", same[i]);
        }
}

static void a_handover_is_counted_back_from_now(void)
{
        OK(read_of("handover_ago_s 2.5").reading.handover_ns == 97500 * DOG_MS, "2.5 s ago");
        OK(read_of("{\"handover_ago_s\": 500}").reading.handover_ns == 0,
           "before this clock began: none seen");
        OK(read_of("handover_ago_s -1").impossible == 1, "one that is to come is refused");
        OK(read_of("cell a").reading.cell == read_of("{\"cell\": \"a\"}").reading.cell, "a cell is its name");
        OK(read_of("cell a").reading.cell != read_of("cell b").reading.cell, "another is another");
        OK(read_of("{\"cell\": 77}").reading.cell != 0, "a number is a name");
}

static void what_is_out_of_its_range_is_refused_and_counted(void)
{
        static const struct {
                const char *text;
                unsigned values, impossible, malformed, ignored;
        } row[] = {
                {"rsrp_dbm -156", 1, 0, 0, 0},
                {"rsrp_dbm -156.1", 0, 1, 0, 0},
                {"rsrp_dbm -31", 1, 0, 0, 0},
                {"rsrp_dbm -30.9", 0, 1, 0, 0},
                {"rsrp_dbm nan", 0, 0, 0, 0},
                {"rsrp_dbm inf", 0, 1, 0, 0},
                {"rsrp_dbm 1e999", 0, 1, 0, 0},
                {"rsrp_dbm -97dBm", 0, 0, 1, 0},
                {"rsrp_dbm", 0, 0, 1, 0},
                {"rsrp_dbm -97 sinr_db", 0, 0, 1, 0}, /* half a line is none */
                {"signal 1.01", 0, 1, 0, 0},
                {"technology 6g", 0, 1, 0, 0},
                {"outage maybe", 0, 1, 0, 0},
                {"battery 12", 0, 0, 0, 1},
                {"{\"battery\": 12, \"rsrp_dbm\": -90}", 1, 0, 0, 1},
                {"{\"rsrp_dbm\": [1]}", 0, 0, 0, 1},
                {"{\"rsrp_dbm\": -90, \"rsrp_dbm\": -91}", 0, 0, 1, 0}, /* which of them? */
                {"{\"rsrp_dbm\": -90", 0, 0, 1, 0},
                {"[-90]", 0, 0, 1, 0},
                {"", 0, 0, 0, 0},
        };
        for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
                struct dog_radio_read r = read_of(row[i].text);
                OK(r.values == row[i].values && r.impossible == row[i].impossible &&
                           r.malformed == row[i].malformed && r.ignored == row[i].ignored,
                   "%s: %u values, %u impossible, %u malformed, %u ignored", row[i].text, r.values,
                   r.impossible, r.malformed, r.ignored);
                OK(dog_radio_is_known(&r.reading) == (row[i].values > 0), "%s", row[i].text);
        }
}

static void a_dish_is_read_with_its_zeros_left_out(void)
{
        struct dog_radio_read r =
                read_of("{\"apiVersion\": \"25\", \"dishGetStatus\": {\"deviceState\": {\"uptimeS\": \"1\"}, "
                        "\"popPingLatencyMs\": 41.5, \"obstructionStats\": {\"validS\": 9, "
                        "\"currentlyObstructed\": true}}}");
        OK(r.reading.ping_ms == 41.5F && r.reading.drop == 0 && r.reading.obstruction == 0 &&
                   r.reading.obstructed_in_s == 0 && r.reading.has_outage && !r.reading.is_outage &&
                   r.reading.technology == DOG_RADIO_SATELLITE,
           "what is zero is not printed");
        r = read_of("{\"dishGetStatus\": {\"popPingDropRate\": 1, \"popPingLatencyMs\": -1, \"snr\": 4.5, "
                    "\"obstructionStats\": {\"fractionObstructed\": \"NaN\"}, \"outage\": {\"cause\": "
                    "\"BOOTING\"}}}");
        OK(r.reading.drop == 1 && isnan(r.reading.ping_ms) && r.reading.is_outage &&
                   r.reading.signal == .5F && isnan(r.reading.obstruction) && r.impossible == 0,
           "cut off: no ping came back");
        r = read_of("{\"popPingLatencyMs\": 20, \"popPingDropRate\": 7}");
        OK(r.is_dish && isnan(r.reading.drop) && r.impossible == 1, "bare; and a lie is refused");
}

/* ---- a source ---- */

static unsigned heard;
static void nobody_watches(void *user, int fd, short events)
{
        (void)user, (void)fd, (void)events;
}
static void someone_hears(void *user, const struct dog_radio *r)
{
        struct dog_radio *to = user;
        heard++;
        *to = *r;
}

static struct dog_radio_conf conf_of(const char *file, struct dog_radio *to)
{
        return (struct dog_radio_conf){.kind = DOG_RADIO_FILE,
                                       .name = "path lte",
                                       .file = file,
                                       .interval_ns = DOG_S,
                                       .stale_ns = 5 * DOG_S,
                                       .watch = nobody_watches,
                                       .reading = someone_hears,
                                       .user = to};
}

static void write_file(const char *name, const char *text)
{
        FILE *to = fopen(name, "we");
        NEED(to, "%s", name);
        fputs(text, to);
        fclose(to);
}

static void a_file_is_read_when_it_changes_whatever_the_clock_does(void)
{
        char name[] = "/tmp/test-radio-XXXXXX";
        struct dog_radio got = {.at_ns = 0};
        struct dog_radio_source *s = NULL;
        int fd = mkstemp(name);
        NEED(fd >= 0, "a file");
        close(fd);
        heard = 0;
        struct dog_radio_conf conf = conf_of(name, &got);
        NEED(dog_radio_source_new(&s, &conf, NULL) == 0, "a source");
        write_file(name, "rsrp_dbm -90\n");
        OK(dog_radio_source_on_timer(s, 10 * DOG_S) == 11 * DOG_S && heard == 1 && got.rsrp_dbm == -90 &&
                   got.at_ns == 10 * DOG_S,
           "read");
        dog_radio_source_on_timer(s, 10 * DOG_S + 1);
        dog_radio_source_on_timer(s, 11 * DOG_S);
        OK(heard == 1, "not before its time, and not when it is the same");
        write_file(name, "rsrp_dbm -91.5\n");
        dog_radio_source_on_timer(s, 9 * DOG_S);
        OK(heard == 1, "a clock that goes back asks for nothing");
        dog_radio_source_on_timer(s, 12 * DOG_S);
        OK(heard == 2 && got.rsrp_dbm == -91.5F, "changed");
        unlink(name);
        for (int i = 13; i < 20; i++)
                dog_radio_source_on_timer(s, i * DOG_S);
        OK(heard == 2 && dog_radio_source_stats(s)->failed >= 7 && dog_radio_source_stats(s)->why[0],
           "gone: %s", dog_radio_source_stats(s)->why);
        dog_radio_source_free(s);
}

static void a_source_that_cannot_be_is_refused(void)
{
        struct dog_radio got;
        struct dog_radio_source *s;
        struct dog_err e;
        struct dog_radio_conf conf = conf_of(NULL, &got);
        OK(dog_radio_source_new(&s, &conf, &e) == -EINVAL && !s, "no file: %s", e.text);
        conf = conf_of("/x", &got);
        conf.interval_ns = DOG_MS;
        OK(dog_radio_source_new(&s, &conf, &e) == -EINVAL, "too often: %s", e.text);
        conf = conf_of(NULL, &got);
        conf.kind = DOG_RADIO_DISH;
        conf.url = "http://dishy/status";
        OK(dog_radio_source_new(&s, &conf, &e) == -EINVAL, "no name is looked up: %s", e.text);
        conf.url = "http://[2001:db8::1]:80/status";
        OK(dog_radio_source_new(&s, &conf, &e) == 0, "%s", e.text);
        dog_radio_source_free(s);
        conf.file = "/x";
        OK(dog_radio_source_new(&s, &conf, &e) == -EINVAL, "both: %s", e.text);
        dog_radio_source_free(NULL);
}

static int modem_source(void *user, struct dog_err *e)
{
        struct dog_radio_source *s;
        struct dog_radio_conf conf = conf_of(NULL, user);
        conf.kind = DOG_RADIO_MODEM;
        conf.modem = "auto";
        conf.device = "wwan0";
        int rc = dog_radio_source_new(&s, &conf, e);
        dog_radio_source_free(s);
        return rc;
}

static void without_memory_nothing_is_left_behind(void)
{
        struct dog_radio got;
        size_t n = alloc_fail_each(modem_source, &got);
        OK(n >= 5, "%zu allocations, each survived", n);
}

int main(void)
{
        return CHECK_RUN(
                TEST(keys_with_values_are_read_in_any_dress), TEST(a_handover_is_counted_back_from_now),
                TEST(what_is_out_of_its_range_is_refused_and_counted),
                TEST(a_dish_is_read_with_its_zeros_left_out),
                TEST(a_file_is_read_when_it_changes_whatever_the_clock_does),
                TEST(a_source_that_cannot_be_is_refused), TEST(without_memory_nothing_is_left_behind));
}
