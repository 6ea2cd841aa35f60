#include "models/modes.h"

#include "models/fastmath.h"

#include <string.h>

static const float modes_start[DOG_MODES][2] = {
#define X(id, word, words, usual, alike) {usual, alike},
        DOG_MODE_LIST(X)
#undef X
};
static const float modes_doubt = 4.0F;     /* breaches that the start is worth */
static const float modes_memory = 200.0F;  /* breaches that count */
static const float modes_record = 5000.0F; /* outcomes that count */
/* Fewer events are an anecdote. */
static const float modes_events = 5.0F;
/* Better than the base rate by this share, or it is nothing. */
static const float modes_skill = 0.02F;
static const float modes_load_full = 0.9F;
/* Delay this much above its least, by factor and by milliseconds, is a queue. */
static const float modes_queue_factor = 1.3F;
static const float modes_queue_ms = 5.0F;

const char *dog_mode_word(int mode)
{
        static const char *const text[DOG_MODES] = {
#define X(id, word, words, usual, alike) word,
                DOG_MODE_LIST(X)
#undef X
        };
        return mode >= 0 && mode < DOG_MODES ? text[mode] : "unknown";
}

const char *dog_mode_name(int mode)
{
        static const char *const text[DOG_MODES] = {
#define X(id, word, words, usual, alike) words,
                DOG_MODE_LIST(X)
#undef X
        };
        return mode >= 0 && mode < DOG_MODES ? text[mode] : "unknown";
}

void dog_mode_records_init(struct dog_mode_records *r)
{
        memset(r, 0, sizeof(*r));
}

void dog_modes_init(struct dog_modes *m)
{
        memset(m, 0, sizeof(*m));
        m->said_ns = INT64_MIN;
        m->rtt_fast = m->rtt_least = NAN;
}

double dog_mode_skill(const struct dog_mode_record *r)
{
        return r->events > 0 && r->square_base > 0 ? 1 - (double)r->square / (double)r->square_base
                                                   : (double)NAN;
}

static bool modes_has_skill(const struct dog_mode_record *r)
{
        return r->events >= modes_events && r->square < r->square_base * (1.0F - modes_skill);
}

/* ---- learning ---- */

static void modes_fade(float *sum, float count, float memory)
{
        if (count >= memory)
                *sum *= 1.0F - 1.0F / memory;
}

static void modes_grade(struct dog_modes *m, struct dog_mode_records *records)
{
        for (int i = 0; i < DOG_MODES; i++) {
                struct dog_mode_record *r = &records->of[i];
                float y = m->happened >> i & 1 ? 1.0F : 0.0F;
                if (m->said[i] != m->said[i])
                        continue;
                /* The base rate is judged as it stood before this outcome. */
                float d = m->said[i] - y;
                float d_base = r->base - y;
                float kept = r->count;
                modes_fade(&r->square, kept, modes_record);
                modes_fade(&r->square_base, kept, modes_record);
                modes_fade(&r->events, kept, modes_record);
                modes_fade(&r->count, kept, modes_record);
                r->square += d * d;
                r->square_base += d_base * d_base;
                r->events += y;
                r->count += 1.0F;
                r->base = (r->events + 0.05F) / (r->count + 1.0F);
        }
        if (!m->happened)
                return;
        for (int i = 0; i < DOG_MODES; i++) {
                int alike = m->looked >> i & 1;
                float kept = m->breaches[i][alike];
                modes_fade(&m->mine[i][alike], kept, modes_memory);
                modes_fade(&m->breaches[i][alike], kept, modes_memory);
                m->breaches[i][alike] += 1.0F;
                m->mine[i][alike] += m->happened >> i & 1 ? 1.0F : 0.0F;
        }
}

/* Bits of the modes that a bad sample is laid to: one of them. */
static uint8_t modes_of(const struct dog_modes *m, const struct dog_mode_sample *s)
{
        bool is_lost = s->loss >= 1;
        if (!s->is_bad)
                return 0;
        if (is_lost && m->is_lost)
                return 1U << DOG_MODE_LINK;
        if (!is_lost && (s->load >= modes_load_full || s->is_network_good))
                return 1U << DOG_MODE_OVERLOAD;
        /* One answer missing may be the first of many: it is laid to nobody before the second. */
        return is_lost ? 0 : 1U << DOG_MODE_CONGESTION;
}

static void modes_take(struct dog_modes *m, const struct dog_mode_sample *s)
{
        float dt_s = m->is_started ? (float)((double)(s->t_ns - m->last_ns) * 1e-9) : 0;
        if (s->rtt_ms == s->rtt_ms) {
                if (m->rtt_fast != m->rtt_fast)
                        m->rtt_fast = m->rtt_least = s->rtt_ms;
                m->rtt_fast += (1.0F - dog_fast_exp2(-dt_s)) * (s->rtt_ms - m->rtt_fast);
                m->rtt_least += (1.0F - dog_fast_exp2(-dt_s / 30.0F)) * (m->rtt_fast - m->rtt_least);
                m->rtt_least = s->rtt_ms < m->rtt_least ? s->rtt_ms : m->rtt_least;
        }
        m->is_lost = s->loss >= 1;
        m->has_load |= s->load == s->load;
        bool is_queue = m->rtt_fast > m->rtt_least * modes_queue_factor &&
                        m->rtt_fast > m->rtt_least + modes_queue_ms;
        m->looks = (uint8_t)((m->is_lost ? 1U << DOG_MODE_LINK : 0) |
                             (s->load >= modes_load_full * modes_load_full ? 1U << DOG_MODE_OVERLOAD : 0) |
                             (is_queue ? 1U << DOG_MODE_CONGESTION : 0));
        m->last_ns = s->t_ns;
        m->is_started = true;
}

void dog_modes_observe(struct dog_modes *m, struct dog_mode_records *r, const struct dog_mode_sample *s,
                       int64_t horizon_ns)
{
        if (m->is_started && s->t_ns <= m->last_ns)
                return;
        if (m->said_ns != INT64_MIN) {
                int64_t age_ns = s->t_ns - m->said_ns;
                if (age_ns <= horizon_ns)
                        m->happened |= modes_of(m, s);
                if (age_ns >= horizon_ns) {
                        /* After a silence nobody knows what happened. */
                        if (age_ns <= 2 * horizon_ns)
                                modes_grade(m, r);
                        m->said_ns = INT64_MIN;
                }
        }
        modes_take(m, s);
}

/* ---- saying ---- */

/* What it would say with skill; NaN: cannot be known. */
static float modes_chance(const struct dog_modes *m, int i, float p_breach)
{
        int alike = m->looks >> i & 1;
        if (i == DOG_MODE_OVERLOAD && !m->has_load)
                return NAN;
        return p_breach * (m->mine[i][alike] + modes_doubt * modes_start[i][alike]) /
               (m->breaches[i][alike] + modes_doubt);
}

void dog_modes_predict(const struct dog_modes *m, const struct dog_mode_records *r, float p_breach,
                       struct dog_mode_chance out[DOG_MODES])
{
        for (int i = 0; i < DOG_MODES; i++) {
                float p = modes_chance(m, i, p_breach);
                bool is_known = p == p;
                out[i].has_skill = is_known && modes_has_skill(&r->of[i]);
                out[i].p = !is_known || out[i].has_skill ? p : r->of[i].base;
        }
}

void dog_modes_step(struct dog_modes *m, const struct dog_mode_records *r, float p_breach, int64_t now_ns,
                    struct dog_mode_chance out[DOG_MODES])
{
        dog_modes_predict(m, r, p_breach, out);
        if (!m->is_started || m->said_ns != INT64_MIN)
                return;
        /* What would be said with skill is what is graded: that is how skill shows. */
        for (int i = 0; i < DOG_MODES; i++)
                m->said[i] = modes_chance(m, i, p_breach);
        m->said_ns = now_ns;
        m->happened = 0;
        m->looked = m->looks;
}
