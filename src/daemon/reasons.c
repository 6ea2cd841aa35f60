#include "daemon/reasons.h"

#include "base/clock.h"
#include "daemon/say.h"

#include <stdarg.h>
#include <string.h>

json_t *reasons_drivers(const struct dog_reason_share driver[DOG_DRIVERS])
{
        json_t *list = json_array();
        for (int i = 0; i < DOG_DRIVERS; i++)
                if (fabsf(driver[i].log_odds) > 0.05F)
                        json_array_append_new(list, json_pack("{s:s, s:f}", "feature",
                                                              dog_risk_group_name(driver[i].feature),
                                                              "log_odds", (double)driver[i].log_odds));
        return list;
}

json_t *reasons_voices(const struct dog_voice voice[DOG_EXPERTS])
{
        json_t *list = json_array();
        bool is_told[DOG_EXPERTS] = {false};
        for (int k = 0; k < DOG_EXPERTS; k++) {
                int best = -1;
                for (int i = 0; i < DOG_EXPERTS; i++)
                        if (!is_told[i] && voice[i].weight > 0 &&
                            (best < 0 || voice[i].weight > voice[best].weight))
                                best = i;
                if (best < 0)
                        break;
                is_told[best] = true;
                json_array_append_new(list, json_pack("{s:s, s:o, s:f}", "name", dog_expert_name(best), "p",
                                                      say_real((double)voice[best].p), "weight",
                                                      (double)voice[best].weight));
        }
        return list;
}

const char *reasons_model(int speaker)
{
        return speaker < 0 ? "none" : dog_expert_name(speaker);
}

json_t *reasons_calibration(const struct dog_reliability *r, double p)
{
        char text[64];
        int bin = (int)(p * DOG_RELIABILITY_BINS);
        if (!(p >= 0 && p <= 1))
                return json_null();
        bin = bin < DOG_RELIABILITY_BINS ? bin : DOG_RELIABILITY_BINS - 1;
        double n = r->count[bin];
        return json_pack("{s:s, s:o, s:o, s:I}", "text", dog_reliability_text(r, bin, text), "said",
                         say_real(r->said[bin] / n), "happened", say_real(r->happened[bin] / n), "n",
                         (json_int_t)r->count[bin]);
}

json_t *reasons_change(const struct dog_belief *b, int64_t at_ns, const char *when)
{
        enum { LATELY_S = 900 };
        char text[200], ago[40];
        int64_t age_s = (at_ns - b->told.shift.since_ns) / DOG_S;
        if (b->told.level >= DOG_LEVEL_COUNT || age_s < 0 || age_s > LATELY_S)
                return json_null();
        snprintf(ago, sizeof(ago), "%lld %s %s", (long long)(age_s < 120 ? age_s : age_s / 60),
                 age_s < 120 ? "s" : "min", when);
        dog_level_text(&b->told, ago, text, sizeof(text));
        return json_string(text);
}

json_t *reasons_modes(const struct dog_group *g, const struct dog_belief *b)
{
        json_t *list = json_array();
        for (int i = 0; i < DOG_MODES; i++) {
                const struct dog_mode_record *r = &g->insight.modes.of[i];
                json_array_append_new(list,
                                      json_pack("{s:s, s:s, s:o, s:b, s:o, s:f}", "mode", dog_mode_word(i),
                                                "name", dog_mode_name(i), "p", say_real((double)b->mode[i].p),
                                                "has_skill", (int)b->mode[i].has_skill, "skill",
                                                say_real(dog_mode_skill(r)), "events", (double)r->events));
        }
        return list;
}

/* ---- words ---- */

/* Chances that people read: 0.03 %, 0.4 %, 12 %. */
static int digits_of(double share)
{
        return share >= 0.0995 || share < 0.00005 ? 0 : share < 0.00095 ? 2 : 1;
}

void reasons_drivers_text(const json_t *drivers, char *to, size_t room)
{
        size_t i;
        const json_t *d;
        to[0] = 0;
        json_array_foreach(drivers, i, d)
                say_append(to, room, "%s%s %+.1f", i ? ", " : "",
                           json_string_value(json_object_get(d, "feature")), say_number(d, "log_odds"));
}

void reasons_voices_text(const json_t *voices, char *to, size_t room)
{
        size_t i;
        const json_t *v;
        to[0] = 0;
        json_array_foreach(voices, i, v)
                say_append(to, room, "%s%s %.0f %%", i ? ", " : "",
                           json_string_value(json_object_get(v, "name")), 100 * say_number(v, "weight"));
}

void reasons_modes_text(const json_t *modes, char *to, size_t room)
{
        size_t i;
        const json_t *m;
        unsigned said = 0;
        to[0] = 0;
        json_array_foreach(modes, i, m)
        {
                const char *name = json_string_value(json_object_get(m, "name"));
                double p = say_number(m, "p");
                say_append(to, room, "%s%s ", said++ ? ", " : "", name);
                if (isnan(p))
                        say_append(to, room, "not measured");
                else
                        say_append(to, room, "%.*f %%%s", digits_of(p), 100 * p,
                                   json_is_true(json_object_get(m, "has_skill")) ? "" : " (base rate)");
        }
}
