#include "ctl/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

enum { BAR = 30 };
/* Whoever reads a log wants to know that it goes on, not every step of it. */
#define LINE_NS     (5 * DOG_S)
#define TERMINAL_NS (100 * DOG_MS)

struct progress progress_begin(const char *what)
{
        int64_t now_ns = dog_clock_mono_ns();
        return (struct progress){.what = what,
                                 .is_terminal = isatty(STDERR_FILENO),
                                 .began_ns = now_ns,
                                 .said_ns = now_ns,
                                 .shown = -1};
}

void progress_show(struct progress *p, double done, double of, const char *note)
{
        int64_t now_ns = dog_clock_mono_ns();
        int percent = of > 0 ? (int)(100 * done / of) : 0;
        if (now_ns - p->said_ns < (p->is_terminal ? TERMINAL_NS : LINE_NS) || percent == p->shown)
                return;
        p->said_ns = now_ns;
        p->shown = percent;
        double spent_s = (double)(now_ns - p->began_ns) / 1e9;
        double left_s = done > 0 ? spent_s * (of - done) / done : 0;
        if (!p->is_terminal) {
                fprintf(stderr, "%s: %d %%, about %.0f s to go%s%s\n", p->what, percent, left_s,
                        note ? ": " : "", note ? note : "");
                return;
        }
        fprintf(stderr, "\r%s [", p->what);
        for (int i = 0; i < BAR; i++)
                fputc(i * 100 < percent * BAR ? '#' : ' ', stderr);
        fprintf(stderr, "] %3d %% %4.0f s to go %s\033[K", percent, left_s, note ? note : "");
        fflush(stderr);
}

void progress_end(struct progress *p)
{
        if (p->is_terminal && p->shown >= 0)
                fputs("\r\033[K", stderr);
        p->shown = -1;
}
