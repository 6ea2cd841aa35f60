#include "ctl/progress.h"

#include "base/clock.h"
#include "base/units.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR_LEAST = 10, BAR_MOST = 30, LINE_MOST = 300 };
/* Whoever reads a log wants to know that it goes on, not every step of it. */
#define LINE_NS     (10 * DOG_S)
#define TERMINAL_NS (100 * DOG_MS)
/* What the first moments say of the rest is not worth reading. */
#define GUESS_NS (2 * DOG_S)

struct progress progress_begin(const char *what)
{
        int64_t now_ns = dog_clock_mono_ns();
        return (struct progress){.what = what,
                                 .is_terminal = isatty(STDERR_FILENO),
                                 .began_ns = now_ns,
                                 .said_ns = now_ns,
                                 .began_at = -1,
                                 .shown = -1};
}

/* A line on a terminal that is as wide as its window scrolls away instead of being written over. */
static size_t terminal_room(void)
{
        struct winsize size;
        bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
        return is_known ? (size_t)size.ws_col - 1 : 79;
}

/* Whole seconds: who waits does not care for less. */
static const char *progress_time(int64_t ns, char to[16])
{
        if (ns >= 100 * DOG_S)
                return dog_units_time_text(ns, to);
        snprintf(to, 16, "%d s", (int)(ns / DOG_S) + 1);
        return to;
}

void progress_line(const struct progress *p, int percent, int64_t left_ns, const char *note, size_t room,
                   char *to)
{
        char time[16];
        char bar[BAR_MOST + 1];
        char left[40] = "";
        if (left_ns >= 0)
                snprintf(left, sizeof(left), ", %s left", progress_time(left_ns, time));
        size_t others = strlen(p->what) + strlen("[] 100 %  ") + 14 + strlen(note);
        size_t length = room > others + BAR_MOST    ? BAR_MOST
                        : room > others + BAR_LEAST ? room - others
                                                    : BAR_LEAST;
        for (size_t i = 0; i < length; i++)
                bar[i] = i * 100 < (size_t)percent * length ? '#' : '.';
        bar[length] = 0;
        char whole[LINE_MOST];
        snprintf(whole, sizeof(whole), "%s [%s] %3d %%%s%s%s", p->what, bar, percent, left, *note ? "  " : "",
                 note);
        snprintf(to, room + 1, "%s", whole);
}

void progress_wait(struct progress *p, const char *note)
{
        char line[LINE_MOST];
        size_t room = terminal_room();
        room = room < sizeof(line) ? room : sizeof(line) - 1;
        snprintf(line, room + 1, "%s: %s", p->what, note);
        if (p->is_terminal)
                fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
        p->shown = 0;
}

void progress_show(struct progress *p, double done, double of, const char *note)
{
        char line[LINE_MOST];
        char time[16];
        int64_t now_ns = dog_clock_mono_ns();
        int percent = of > 0 ? (int)(100 * done / of) : 0;
        /* What an earlier run did says nothing of how fast this one is. */
        if (p->began_at < 0) {
                p->began_at = done;
                p->began_ns = now_ns;
        }
        if (now_ns - p->said_ns < (p->is_terminal ? TERMINAL_NS : LINE_NS))
                return;
        p->said_ns = now_ns;
        p->shown = percent;
        bool is_known = done > p->began_at && now_ns - p->began_ns > GUESS_NS;
        double left_ns = is_known ? (double)(now_ns - p->began_ns) * (of - done) / (done - p->began_at) : -1;
        if (!p->is_terminal) {
                fprintf(stderr, "%s: %d %%%s%s%s%s\n", p->what, percent, is_known ? ", left: " : "",
                        is_known ? progress_time((int64_t)left_ns, time) : "", note ? ": " : "",
                        note ? note : "");
                return;
        }
        size_t room = terminal_room();
        progress_line(p, percent, (int64_t)left_ns, note ? note : "",
                      room < sizeof(line) ? room : sizeof(line) - 1, line);
        fprintf(stderr, "\r%s\033[K", line);
        fflush(stderr);
}

void progress_end(struct progress *p)
{
        if (p->is_terminal && p->shown >= 0)
                fputs("\r\033[K", stderr);
        p->shown = -1;
}
