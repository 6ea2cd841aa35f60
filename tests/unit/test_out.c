/* Tables, as a terminal of a given width shows them. */
#include "check.h"
#include "base/clock.h"
#include "ctl/out.h"
#include "ctl/progress.h"

#include <stdlib.h>
#include <string.h>

static const struct out_column column[] = {
        {.key = "name"},
        {.key = "rtt", .unit = "ms", .digits = 1, .is_right = true, .spare = 1},
        {.key = "load", .unit = "%", .is_right = true, .spare = 2},
        {.key = "why"},
        {.key = NULL}};

/* What is printed of `text`, a JSON array, on a terminal so wide. Valid until the next call. */
static const char *shown(const char *text, size_t width, enum out_format format)
{
        static char *bytes;
        size_t size;
        free(bytes);
        bytes = NULL;
        FILE *to = open_memstream(&bytes, &size);
        json_t *rows = json_loads(text, 0, NULL);
        struct out o = {.format = format, .width = width, .to = to};
        out_rows(&o, rows, column);
        json_decref(rows);
        fclose(to);
        return bytes;
}

static void columns_are_as_wide_as_what_is_in_them(void)
{
        OK(strcmp(shown("[{\"name\":\"p1\",\"rtt\":12.34,\"load\":0.5,\"why\":\"well\"},"
                        "{\"name\":\"longer\",\"rtt\":1,\"load\":null,\"why\":\"\"}]",
                        0, OUT_TABLE),
                  "NAME       RTT  LOAD  WHY\n"
                  "p1      12.3ms   50%  well\n"
                  "longer   1.0ms     -  \n") == 0,
           "no width, no end");
}

static void a_narrow_terminal_loses_what_can_be_spared_first(void)
{
        const char *rows = "[{\"name\":\"p1\",\"rtt\":12.34,\"load\":0.5,\"why\":\"answers are late now\"}]";
        OK(strcmp(shown(rows, 40, OUT_TABLE), "NAME     RTT  LOAD  WHY\n"
                                              "p1    12.3ms   50%  answers are late now\n") == 0,
           "40 are enough");
        OK(strcmp(shown(rows, 39, OUT_TABLE), "NAME     RTT  WHY\n"
                                              "p1    12.3ms  answers are late now\n"
                                              "(no room for LOAD: a wider terminal, or\n-o json)\n") == 0,
           "39: the load, the most spare, goes");
        OK(strcmp(shown(rows, 30, OUT_TABLE), "NAME  WHY\n"
                                              "p1    answers are late now\n"
                                              "(no room for LOAD, RTT: a\nwider terminal, or -o json)\n") == 0,
           "30: the round trip too");
        OK(strstr(shown(rows, 10, OUT_TABLE), "answers") && strstr(shown(rows, 10, OUT_TABLE), "p1"),
           "what cannot be spared stays, however narrow");
}

static void a_long_last_column_goes_on_below_itself(void)
{
        const char *text =
                shown("[{\"name\":\"p1\",\"rtt\":1,\"load\":1,\"why\":\"one two three four five six seven "
                      "eight nine ten eleven\"}]",
                      50, OUT_TABLE);
        OK(strstr(text, "p1    1.0ms  100%  one two"), "%s", text);
        OK(strstr(text, "\n                   "), "below where it began: %s", text);
        for (const char *line = text; *line; line = strchr(line, '\n') + 1)
                OK(strchr(line, '\n') - line <= 50, "no line is longer than the terminal");
}

static void machines_get_everything_at_any_width(void)
{
        const char *rows = "[{\"name\":\"p1\",\"rtt\":12.34,\"load\":0.5,\"why\":\"w\"}]";
        OK(strstr(shown(rows, 10, OUT_JSON), "\"load\": 0.5"), "json");
        OK(strstr(shown(rows, 10, OUT_JSONL), "\"load\":0.5"), "json lines");
}

static void a_bar_is_never_as_wide_as_its_terminal(void)
{
        struct progress p = {.what = "training"};
        static const struct {
                size_t room;
                int percent;
                int64_t left_ns;
                const char *line;
        } row[] = {
                {99, 50, 89 * DOG_S,
                 "training [###############...............]  50 %, 90 s left  examination 2 of 4: ping 30s"},
                {79, 100, -1, "training [###################] 100 %  examination 2 of 4: ping 30s"},
                {30, 0, -1, "training [..........]   0 %  e"},
        };
        for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
                char line[120];
                progress_line(&p, row[i].percent, row[i].left_ns, "examination 2 of 4: ping 30s", row[i].room,
                              line);
                OK(strlen(line) <= row[i].room && strcmp(line, row[i].line) == 0, "\"%s\"", line);
        }
}

int main(void)
{
        return CHECK_RUN(TEST(columns_are_as_wide_as_what_is_in_them),
                         TEST(a_narrow_terminal_loses_what_can_be_spared_first),
                         TEST(a_long_last_column_goes_on_below_itself),
                         TEST(machines_get_everything_at_any_width),
                         TEST(a_bar_is_never_as_wide_as_its_terminal));
}
