#include "core/level.h"

#include <stdio.h>
#include <string.h>

static const struct {
        enum dog_signal signal;
        const char *words, *unit;
        double scale;
        struct dog_shift_config shift;
} level_row[DOG_LEVEL_COUNT] = {
#define X(id, words, unit, scale, block, last, is_floor)                                                     \
        {DOG_SIGNAL_##id, words, unit, scale, {block * DOG_S, last * DOG_S, is_floor}},
        DOG_LEVELS(X)
#undef X
};

void dog_levels_init(struct dog_levels *l)
{
        memset(l, 0, sizeof(*l));
        l->newest = DOG_LEVEL_COUNT;
        for (int i = 0; i < DOG_LEVEL_COUNT; i++)
                dog_shift_init(&l->watch[i]);
}

bool dog_levels_observe(struct dog_levels *l, const struct dog_promise *p, const struct dog_sample *s,
                        double rtt_limit_ms, double rate_kbps)
{
        const struct {
                double value, limit;
        } in[DOG_LEVEL_COUNT] = {[DOG_LEVEL_RTT] = {s->value[DOG_SIGNAL_RTT], rtt_limit_ms},
                                 [DOG_LEVEL_LOSS] = {s->value[DOG_SIGNAL_LOSS], p->loss_ratio},
                                 [DOG_LEVEL_RATE] = {rate_kbps, p->rate_kbps}};
        for (int i = 0; i < DOG_LEVEL_COUNT; i++)
                if (dog_shift_learn(&l->watch[i], &level_row[i].shift, (float)in[i].value, (float)in[i].limit,
                                    s->at_ns, &l->told[i])) {
                        l->newest = (uint8_t)i;
                        l->news |= (uint8_t)(1U << i);
                }
        return l->news != 0;
}

struct dog_level_told dog_levels_told(const struct dog_levels *l)
{
        struct dog_level_told t = {.level = l->newest};
        if (l->newest < DOG_LEVEL_COUNT)
                t.shift = l->told[l->newest];
        return t;
}

const char *dog_level_name(unsigned level)
{
        return level < DOG_LEVEL_COUNT ? dog_signal_name(level_row[level].signal) : "?";
}

const char *dog_level_unit(unsigned level)
{
        return level < DOG_LEVEL_COUNT ? level_row[level].unit : "?";
}

double dog_level_scale(unsigned level)
{
        return level < DOG_LEVEL_COUNT ? level_row[level].scale : 1;
}

int dog_level_text(const struct dog_level_told *t, const char *when, char *to, size_t room)
{
        if (t->level >= DOG_LEVEL_COUNT)
                return snprintf(to, room, "no level has changed");
        double scale = level_row[t->level].scale;
        return snprintf(to, room, "%s %s from %.3g to %.3g %s%s%s%s and stays there; promised: at %s %.3g %s",
                        level_row[t->level].words, t->shift.to > t->shift.from ? "rose" : "fell",
                        scale * (double)t->shift.from, scale * (double)t->shift.to, level_row[t->level].unit,
                        when ? ", " : "", when ? when : "", when ? "," : "",
                        level_row[t->level].shift.is_floor ? "least" : "most", scale * (double)t->shift.limit,
                        level_row[t->level].unit);
}
