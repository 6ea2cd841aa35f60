#include "models/radio_features.h"

#include "models/fastmath.h"

#include <string.h>

static const int64_t radio_mark_ns = INT64_C(450000000); /* readings closer than this are one mark */
static const float radio_span_s[3] = {2, 5, 15};
static const float radio_since_most_s = 600;
static const float radio_slot_s = 15;
/* Where a signal begins to be weak, and where little is left of it. Rules of thumb of network planning. */
static const struct {
        float weak, gone;
} radio_level[DOG_RADIO_LEVELS] = {{-100, -120}, {-12, -20}, {8, -5}, {0.4F, 0.1F}};
/* A fall of the full range of trouble, in each level's own unit: 4 in 4. */
static const float radio_fall[DOG_RADIO_LEVELS] = {20, 10, 15, 0.5F};

const char *dog_radio_technology_word(unsigned technology)
{
        static const char *const word[] = {
#define X(id, w, generation) w,
                DOG_RADIO_TECHNOLOGIES(X)
#undef X
        };
        return technology < DOG_RADIO_TECHNOLOGY_COUNT ? word[technology] : word[0];
}

int dog_radio_generation(unsigned technology)
{
        static const int generation[] = {
#define X(id, w, g) g,
                DOG_RADIO_TECHNOLOGIES(X)
#undef X
        };
        return technology < DOG_RADIO_TECHNOLOGY_COUNT ? generation[technology] : 0;
}

float dog_radio_slot(int64_t wall_ns)
{
        const int64_t slot_ns = INT64_C(15000000000);
        /* 12, 27, 42, 57: three seconds before each quarter of a minute. */
        int64_t in_ns = (wall_ns % slot_ns + INT64_C(3000000000) + slot_ns) % slot_ns;
        return (float)in_ns * 1e-9F;
}

bool dog_radio_is_known(const struct dog_radio *r)
{
#define X(field, word, unit, least, most, help)                                                              \
        if (r->field == r->field)                                                                            \
                return true;
        DOG_RADIO_VALUES(X)
#undef X
        return r->technology != DOG_RADIO_UNKNOWN || r->cell || r->has_outage || r->handover_ns;
}

const char *dog_radio_series_word(enum dog_radio_series s)
{
        static const char *const word[] = {
#define X(field, w, unit, least, most, help) w,
                DOG_RADIO_VALUES(X)
#undef X
#define X(id, w) w,
                        DOG_RADIO_KEPT_LIST(X)
#undef X
        };
        return (unsigned)s < DOG_RADIO_SERIES ? word[s] : "";
}

double dog_radio_series_value(const struct dog_radio *r, enum dog_radio_series s, int64_t since_ns)
{
        switch (s) {
#define X(field, w, unit, least, most, help)                                                                 \
        case DOG_RADIO_S_##field:                                                                            \
                return (double)r->field;
                DOG_RADIO_VALUES(X)
#undef X
        case DOG_RADIO_S_SLOT:
                return (double)r->slot_s;
        case DOG_RADIO_S_TECHNOLOGY:
                return r->technology != DOG_RADIO_UNKNOWN ? r->technology : (double)NAN;
        case DOG_RADIO_S_OUTAGE:
                return r->has_outage ? r->is_outage : (double)NAN;
        case DOG_RADIO_S_HANDOVER:
                return since_ns > 0 && since_ns <= r->at_ns ? (double)(r->at_ns - since_ns) * 1e-9
                                                            : (double)NAN;
        case DOG_RADIO_SERIES:
                break;
        }
        return (double)NAN;
}

void dog_radio_series_take(struct dog_radio *r, enum dog_radio_series s, double value)
{
        switch (s) {
#define X(field, w, unit, least, most, help)                                                                 \
        case DOG_RADIO_S_##field:                                                                            \
                r->field = value >= (least) && value <= (most) ? (float)value : NAN;                         \
                break;
                DOG_RADIO_VALUES(X)
#undef X
        case DOG_RADIO_S_SLOT:
                r->slot_s = value >= 0 && value <= (double)radio_slot_s ? (float)value : NAN;
                break;
        case DOG_RADIO_S_TECHNOLOGY:
                if (value >= 1 && value < DOG_RADIO_TECHNOLOGY_COUNT)
                        r->technology = (uint8_t)value;
                break;
        case DOG_RADIO_S_OUTAGE:
                r->has_outage = value >= 0;
                r->is_outage = value > 0;
                break;
        case DOG_RADIO_S_HANDOVER:
                if (value >= 0 && value * 1e9 < (double)r->at_ns)
                        r->handover_ns = r->at_ns - (int64_t)(value * 1e9 + 0.5);
                break;
        case DOG_RADIO_SERIES:
                break;
        }
}

static float radio_seconds(int64_t later_ns, int64_t earlier_ns)
{
        return (float)((double)((uint64_t)later_ns - (uint64_t)earlier_ns) * 1e-9);
}

/* ---- taking ---- */

void dog_radio_past_init(struct dog_radio_past *p, int64_t stale_ns)
{
        memset(p, 0, sizeof(*p));
        p->newest = dog_radio_unknown();
        p->stale_ns = stale_ns;
        for (int k = 0; k < DOG_RADIO_LEVELS; k++) {
                p->lowest[k] = NAN;
                for (int s = 0; s < 3; s++)
                        p->slope[k][s] = NAN;
        }
        p->drop_15s = NAN;
}

/* The line of least squares over the marks of one span; NaN when they cover less than half of it. */
static float radio_slope(const struct dog_radio_past *p, int level, float span_s)
{
        float n = 0, t1 = 0, x1 = 0, t2 = 0, tx = 0, oldest_s = 0, newest_s = span_s;
        int64_t now_ns = p->mark[p->at].t_ns;
        for (unsigned i = 0; i < p->marks; i++) {
                unsigned at = (p->at + DOG_RADIO_MARKS - i) % DOG_RADIO_MARKS;
                float ago_s = radio_seconds(now_ns, p->mark[at].t_ns);
                float x = p->mark[at].level[level];
                if (ago_s > span_s + 0.25F)
                        break;
                if (x != x)
                        continue;
                n += 1;
                t1 -= ago_s;
                x1 += x;
                t2 += ago_s * ago_s;
                tx -= ago_s * x;
                oldest_s = ago_s > oldest_s ? ago_s : oldest_s;
                newest_s = ago_s < newest_s ? ago_s : newest_s;
        }
        float spread = n * t2 - t1 * t1;
        if (n < 2 || oldest_s - newest_s < 0.5F * span_s - 0.25F || !(spread > 1e-3F))
                return NAN;
        return (n * tx - t1 * x1) / spread;
}

static void radio_mark(struct dog_radio_past *p, const struct dog_radio *r)
{
        const float level[DOG_RADIO_LEVELS] = {r->rsrp_dbm, r->rsrq_db, r->sinr_db, r->signal};
        if (p->marks && r->at_ns - p->mark[p->at].t_ns < radio_mark_ns)
                return;
        p->at = (uint8_t)((p->at + (p->marks > 0)) % DOG_RADIO_MARKS);
        p->marks = (uint8_t)(p->marks + (p->marks < DOG_RADIO_MARKS));
        p->mark[p->at].t_ns = r->at_ns;
        memcpy(p->mark[p->at].level, level, sizeof(level));
        for (int k = 0; k < DOG_RADIO_LEVELS; k++) {
                for (int s = 0; s < 3; s++)
                        p->slope[k][s] = radio_slope(p, k, radio_span_s[s]);
                p->lowest[k] = NAN;
                for (unsigned i = 0; i < p->marks; i++) {
                        unsigned at = (p->at + DOG_RADIO_MARKS - i) % DOG_RADIO_MARKS;
                        if (radio_seconds(r->at_ns, p->mark[at].t_ns) > 15.25F)
                                break;
                        if (!(p->mark[at].level[k] >= p->lowest[k]) &&
                            p->mark[at].level[k] == p->mark[at].level[k])
                                p->lowest[k] = p->mark[at].level[k];
                }
        }
}

static bool radio_is_moved(const struct dog_radio *before, const struct dog_radio *now)
{
        return (before->cell && now->cell && before->cell != now->cell) ||
               (before->technology && now->technology && before->technology != now->technology);
}

void dog_radio_past_take(struct dog_radio_past *p, const struct dog_radio *r)
{
        if (r->at_ns <= p->newest.at_ns) {
                p->late += p->late < UINT32_MAX;
                return;
        }
        struct dog_radio now = *r;
        const struct dog_radio *before = &p->newest;
        if (now.handover_ns > now.at_ns)
                now.handover_ns = 0;
        if (radio_is_moved(before, &now) && now.handover_ns <= before->handover_ns)
                now.handover_ns = now.at_ns;
        if (now.handover_ns < before->handover_ns)
                now.handover_ns = before->handover_ns;
        /* What is not told this time is not a change. */
        if (!now.cell)
                now.cell = before->cell;
        float dt_s = p->has_any ? radio_seconds(now.at_ns, p->counted_ns) : 0;
        p->handovers *= dog_fast_exp2(-dt_s / 60);
        if (now.handover_ns > before->handover_ns)
                p->handovers += 1;
        if (now.drop == now.drop)
                p->drop_15s = p->drop_15s == p->drop_15s ? p->drop_15s + (1 - dog_fast_exp2(-dt_s / 15)) *
                                                                                 (now.drop - p->drop_15s)
                                                         : now.drop;
        p->counted_ns = now.at_ns;
        if (now.has_outage && now.is_outage)
                p->outage_ns = now.at_ns;
        p->newest = now;
        p->has_any = true;
        radio_mark(p, &now);
}

/* ---- inputs ---- */

static float radio_since(int64_t now_ns, int64_t then_ns)
{
        float s = radio_seconds(now_ns, then_ns);
        return s < radio_since_most_s ? s : radio_since_most_s;
}

bool dog_radio_inputs(const struct dog_radio_past *p, int64_t now_ns, float in[DOG_RADIO_INPUTS])
{
        const struct dog_radio *r = &p->newest;
        for (int i = 0; i < DOG_RADIO_INPUTS; i++)
                in[i] = NAN;
        if (!p->has_any || now_ns < r->at_ns || now_ns - r->at_ns > p->stale_ns || !dog_radio_is_known(r))
                return false;
        float age_s = radio_seconds(now_ns, r->at_ns);
        const float level[DOG_RADIO_LEVELS] = {r->rsrp_dbm, r->rsrq_db, r->sinr_db, r->signal};
        static const uint8_t level_at[DOG_RADIO_LEVELS] = {DOG_RADIO_I_RSRP, DOG_RADIO_I_RSRQ,
                                                           DOG_RADIO_I_SINR, DOG_RADIO_I_SIGNAL};
        static const uint8_t slope_at[DOG_RADIO_LEVELS] = {DOG_RADIO_I_RSRP_2S, DOG_RADIO_I_RSRQ_2S,
                                                           DOG_RADIO_I_SINR_2S, DOG_RADIO_I_SIGNAL_2S};
        for (int k = 0; k < DOG_RADIO_LEVELS; k++) {
                in[level_at[k]] = level[k];
                for (int s = 0; s < 3; s++)
                        in[slope_at[k] + s] = p->slope[k][s];
        }
        in[DOG_RADIO_I_RSSI] = r->rssi_dbm;
        in[DOG_RADIO_I_RSRP_LOWEST] = p->lowest[0];
        in[DOG_RADIO_I_SINR_LOWEST] = p->lowest[2];
        if (dog_radio_generation(r->technology))
                in[DOG_RADIO_I_GENERATION] = (float)dog_radio_generation(r->technology);
        if (r->technology != DOG_RADIO_UNKNOWN)
                in[DOG_RADIO_I_SATELLITE] = r->technology == DOG_RADIO_SATELLITE ? 1 : 0;
        if (r->handover_ns)
                in[DOG_RADIO_I_SINCE_HANDOVER] = radio_since(now_ns, r->handover_ns);
        if (r->cell || r->handover_ns)
                in[DOG_RADIO_I_HANDOVERS] = p->handovers * dog_fast_exp2(-age_s / 60);
        in[DOG_RADIO_I_OBSTRUCTION] = r->obstruction;
        if (r->obstructed_in_s == r->obstructed_in_s)
                in[DOG_RADIO_I_OBSTRUCTED_IN] = r->obstructed_in_s > age_s ? r->obstructed_in_s - age_s : 0;
        if (r->has_outage)
                in[DOG_RADIO_I_OUTAGE] = r->is_outage ? 1 : 0;
        if (p->outage_ns)
                in[DOG_RADIO_I_SINCE_OUTAGE] = radio_since(now_ns, p->outage_ns);
        in[DOG_RADIO_I_DROP] = r->drop;
        in[DOG_RADIO_I_DROP_15S] = p->drop_15s;
        in[DOG_RADIO_I_PING] = r->ping_ms;
        if (r->slot_s == r->slot_s)
                in[DOG_RADIO_I_SLOT] = fmodf(r->slot_s + age_s, radio_slot_s);
        in[DOG_RADIO_I_AGE] = age_s;
        return true;
}

/* ---- hints ---- */

/* 0 for what is not above 0 or not known, 4 from 1 on. */
static float radio_share(float share)
{
        return share > 0 ? (share < 1 ? 4 * share : 4) : 0;
}

static void radio_most(float *to, float value)
{
        if (value > *to)
                *to = value;
}

void dog_radio_hints(const float in[DOG_RADIO_INPUTS], float hint[DOG_RADIO_HINTS])
{
        static const struct {
                uint8_t level, slope, lowest; /* where no lowest is kept: the level itself */
        } at[DOG_RADIO_LEVELS] = {
                {DOG_RADIO_I_RSRP, DOG_RADIO_I_RSRP_2S, DOG_RADIO_I_RSRP_LOWEST},
                {DOG_RADIO_I_RSRQ, DOG_RADIO_I_RSRQ_2S, DOG_RADIO_I_RSRQ},
                {DOG_RADIO_I_SINR, DOG_RADIO_I_SINR_2S, DOG_RADIO_I_SINR_LOWEST},
                {DOG_RADIO_I_SIGNAL, DOG_RADIO_I_SIGNAL_2S, DOG_RADIO_I_SIGNAL},
        };
        for (int i = 0; i < DOG_RADIO_HINTS; i++)
                hint[i] = 0;
        /* Of several levels the worst speaks. */
        for (int k = 0; k < DOG_RADIO_LEVELS; k++) {
                float weak = radio_level[k].weak;
                float range = weak - radio_level[k].gone;
                float level = in[at[k].level];
                float middle = weak - 0.5F * range;
                radio_most(&hint[DOG_RADIO_H_WEAK], radio_share((weak - level) / range));
                radio_most(&hint[DOG_RADIO_H_VERY_WEAK], radio_share((middle - level) / (0.5F * range)));
                radio_most(&hint[DOG_RADIO_H_LOWEST],
                           radio_share((middle - in[at[k].lowest]) / (0.5F * range)));
                for (int s = 0; s < 3; s++)
                        radio_most(&hint[DOG_RADIO_H_FALL_2S + s],
                                   radio_share(-in[at[k].slope + s] * radio_span_s[s] / radio_fall[k]));
                radio_most(&hint[DOG_RADIO_H_AHEAD],
                           radio_share((middle - level - 3 * in[at[k].slope]) / (0.5F * range)));
        }
        float since_s = in[DOG_RADIO_I_SINCE_HANDOVER];
        if (since_s == since_s)
                hint[DOG_RADIO_H_HANDOVER] = 4 * dog_fast_exp(-since_s / 3);
        hint[DOG_RADIO_H_HANDOVERS] = radio_share(in[DOG_RADIO_I_HANDOVERS] / 6);
        float obstruction = in[DOG_RADIO_I_OBSTRUCTION];
        hint[DOG_RADIO_H_OBSTRUCTED] = obstruction > 0 ? radio_share(sqrtf(obstruction)) : 0;
        hint[DOG_RADIO_H_OBSTRUCTED_SOON] = radio_share((8 - in[DOG_RADIO_I_OBSTRUCTED_IN]) / 8);
        hint[DOG_RADIO_H_OUTAGE] = radio_share(in[DOG_RADIO_I_OUTAGE]);
        float drop = in[DOG_RADIO_I_DROP];
        hint[DOG_RADIO_H_DROP] = drop > 0 ? radio_share(sqrtf(drop)) : 0;
        float slot_s = in[DOG_RADIO_I_SLOT];
        if (slot_s == slot_s) {
                float to_s = slot_s < 0.5F * radio_slot_s ? slot_s : radio_slot_s - slot_s;
                hint[DOG_RADIO_H_SLOT] = 4 * dog_fast_exp(-2 * to_s);
        }
}

void dog_radio_extras(const float in[DOG_RADIO_INPUTS], float extra[DOG_RADIO_EXTRAS])
{
        float rsrp = in[DOG_RADIO_I_RSRP];
        extra[DOG_RADIO_X_SIGNAL_DBM] = rsrp == rsrp ? rsrp : in[DOG_RADIO_I_RSSI];
        extra[DOG_RADIO_X_SINR_DB] = in[DOG_RADIO_I_SINR];
        extra[DOG_RADIO_X_HANDOVER_AGE_S] = in[DOG_RADIO_I_SINCE_HANDOVER];
        extra[DOG_RADIO_X_OBSTRUCTED] = in[DOG_RADIO_I_OUTAGE] > 0 ? 1 : in[DOG_RADIO_I_OBSTRUCTION];
        extra[DOG_RADIO_X_OBSTRUCTION_IN_S] = in[DOG_RADIO_I_OBSTRUCTED_IN];
}

const char *dog_radio_input_name(int i)
{
        static const char *const name[DOG_RADIO_INPUTS] = {
#define X(id, unit, words) words,
                DOG_RADIO_INPUT_LIST(X)
#undef X
        };
        return i >= 0 && i < DOG_RADIO_INPUTS ? name[i] : "unknown";
}

const char *dog_radio_hint_name(int i)
{
        static const char *const name[DOG_RADIO_HINTS] = {
#define X(id, words) words,
                DOG_RADIO_HINT_LIST(X)
#undef X
        };
        return i >= 0 && i < DOG_RADIO_HINTS ? name[i] : "unknown";
}
