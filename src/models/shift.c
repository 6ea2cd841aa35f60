#include "models/shift.h"

#include <math.h>
#include <string.h>

void dog_shift_init(struct dog_shift_watch *w)
{
        memset(w, 0, sizeof(*w));
        w->known = NAN;
        w->credit = 1;
        w->first_ns = w->known_ns = INT64_MIN;
        dog_changepoint_init(&w->level);
}

/* How much of what is promised a level uses up; 1 is the limit. */
static float shift_use(const struct dog_shift_config *c, float level, float limit)
{
        float use = c->is_floor ? limit / fmaxf(level, 1e-3F * limit) : level / limit;
        return fminf(use, DOG_SHIFT_MOST);
}

/* One block is full: `mean` is what the signal was from begun_ns on. */
static bool shift_judge(struct dog_shift_watch *w, const struct dog_shift_config *c, float mean, float limit,
                        int64_t t_ns, struct dog_shift *out)
{
        struct dog_level_change change;
        bool is_first = w->first_ns == INT64_MIN;
        float spent = is_first ? 0 : (float)(t_ns - w->judged_ns);
        w->judged_ns = t_ns;
        w->first_ns = is_first ? w->begun_ns : w->first_ns;
        w->credit = fminf(DOG_SHIFT_BURST, w->credit + spent / (float)DOG_SHIFT_REFILL_NS);
        float fade = 1 - fminf(1, spent / (float)DOG_SHIFT_MEMORY_NS);
        w->changes *= fade;
        w->squares *= fade;
        if (dog_changepoint_learn(&w->level, (double)mean, w->begun_ns, &change)) {
                float moved = shift_use(c, change.to_level, limit) - shift_use(c, change.from_level, limit);
                w->usual = sqrtf(w->squares / (w->changes + DOG_SHIFT_FEW));
                w->changes += 1;
                w->squares += moved * moved;
        }
        /* 1. Nothing new, or too long ago to be news: what is, is known. */
        int64_t since_ns = w->level.told_ns;
        bool is_new = since_ns != w->known_ns;
        if (!is_new || t_ns - since_ns >= DOG_SHIFT_ACCEPT_NS ||
            since_ns - w->first_ns < DOG_SHIFT_FIRST_NS) {
                w->known = w->level.told_level;
                w->known_ns = since_ns;
                return false;
        }
        /* 2. It must have lasted and still be so, matter, be unusual, and people must be able to read it all.
         */
        float from = shift_use(c, w->known, limit), to = shift_use(c, w->level.told_level, limit);
        float size = fabsf(to - from);
        /* Who begins to break the promise, or keeps it again, may borrow. */
        float needed = (from < 1) != (to < 1) ? 0 : 1;
        bool is_there = fabsf(mean - w->level.told_level) < fabsf(mean - w->known);
        if (!is_there || t_ns - since_ns < c->last_ns || size < DOG_SHIFT_LEAST ||
            size <= DOG_SHIFT_UNUSUAL * w->usual || w->credit < needed)
                return false;
        *out = (struct dog_shift){
                .since_ns = since_ns, .from = w->known, .to = w->level.told_level, .limit = limit};
        w->credit -= 1;
        w->known = w->level.told_level;
        w->known_ns = since_ns;
        return true;
}

bool dog_shift_learn(struct dog_shift_watch *w, const struct dog_shift_config *c, float value, float limit,
                     int64_t t_ns, struct dog_shift *out)
{
        bool is_told = false;
        if (!isfinite(value) || !(limit > 0))
                return false;
        /* A block ends with the first value that is not in it. */
        if (w->filled > 0 && (t_ns - w->begun_ns >= c->block_ns || t_ns < w->begun_ns)) {
                is_told = shift_judge(w, c, w->sum / (float)w->filled, limit, t_ns, out);
                w->filled = 0;
        }
        if (w->filled == 0) {
                w->begun_ns = t_ns;
                w->sum = 0;
        }
        w->sum += value;
        w->filled++;
        return is_told;
}
