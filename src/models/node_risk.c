#include "models/node_risk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Words that wait for their outcome: an hour of them at the shortest period. */
enum { RISK_PENDING = 360 };
/* A failure told is remembered so long for outcomes. */
enum { RISK_FAILURES = 16 };
/* Silence of so many periods begins a new record: what came in between is not known. */
#define RISK_GAP 5

/* What was said of one series in one period. NaN: the question was not open. */
struct risk_said {
        float raw[DOG_NODE_HORIZONS];
};

struct dog_node_risk {
        unsigned metrics;
        int64_t period_s;
        int64_t begun_s, t_s; /* of the period being filled; of the newest value */
        uint32_t filled;
        uint64_t dropped;
        struct dog_node_grade failure[DOG_NODE_HORIZONS], overload[DOG_NODE_HORIZONS], link;
        int64_t failed_s[RISK_FAILURES];
        unsigned failed;
        struct dog_node_word word;
        int64_t when_s[RISK_PENDING];
        uint64_t said;                                       /* entries ever */
        uint64_t taken[DOG_NODE_HORIZONS];                   /* of them, those whose outcome is known */
        size_t node_at, sum_at, count_at, above_at, said_at; /* octets from the beginning */
};

static size_t risk_round(size_t size)
{
        return (size + 15) & ~(size_t)15;
}

static size_t risk_place(struct dog_node_risk *r, unsigned metrics)
{
        size_t node = risk_round(sizeof(struct dog_node_risk));
        size_t sum = node + risk_round(dog_node_size(metrics));
        size_t count = sum + risk_round(metrics * sizeof(double));
        size_t above = count + risk_round(metrics * sizeof(uint32_t));
        size_t said = above + risk_round(metrics * sizeof(int64_t));
        if (r) {
                r->node_at = node;
                r->sum_at = sum;
                r->count_at = count;
                r->above_at = above;
                r->said_at = said;
        }
        return said + risk_round((size_t)RISK_PENDING * (metrics + 1) * sizeof(struct risk_said));
}

size_t dog_node_risk_size(unsigned metrics)
{
        return dog_node_size(metrics) ? risk_place(NULL, metrics) : 0;
}

static void *risk_at(struct dog_node_risk *r, size_t at)
{
        return (char *)r + at;
}

/* Series 0 is the node's failure, 1 + k the metric k. */
static struct risk_said *risk_said_at(struct dog_node_risk *r, unsigned entry, unsigned series)
{
        return (struct risk_said *)risk_at(r, r->said_at) + (size_t)entry * (r->metrics + 1) + series;
}

static void risk_forget(struct dog_node_risk *r)
{
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                r->taken[h] = r->said;
}

static void risk_period_begin(struct dog_node_risk *r, int64_t t_s)
{
        r->begun_s = t_s;
        r->filled = 0;
        memset(risk_at(r, r->sum_at), 0, r->metrics * sizeof(double));
        memset(risk_at(r, r->count_at), 0, r->metrics * sizeof(uint32_t));
}

void dog_node_risk_init(struct dog_node_risk *r, const struct dog_node_risk_config *c)
{
        memset(r, 0, dog_node_risk_size(c->metrics));
        r->metrics = c->metrics;
        r->period_s = c->period_s < 10 ? 10 : c->period_s > 300 ? 300 : c->period_s;
        risk_place(r, c->metrics);
        struct dog_node *n = risk_at(r, r->node_at);
        dog_node_init(n, c->metrics);
        int64_t *above_s = risk_at(r, r->above_at);
        for (unsigned k = 0; k < c->metrics; k++) {
                dog_node_limit(n, k, c->metric[k].limit);
                above_s[k] = INT64_MIN;
        }
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                dog_node_grade_init(&r->failure[h], &c->failure_shape[h], c->metrics);
                dog_node_grade_init(&r->overload[h], &c->overload_shape[h], c->metrics);
                r->word.failure[h] = dog_node_grade_base(&r->failure[h]);
                r->word.overload[h] = NAN;
        }
        /* A link that errs anew within a quarter of an hour: once in three days until there is a record. */
        struct dog_node_shape link = dog_node_shape_plain(0.0035F);
        dog_node_grade_init(&r->link, &link, 0);
        for (int i = 0; i < DOG_NODE_MODE_COUNT; i++)
                r->word.mode[i] = NAN;
        r->word.t_s = INT64_MIN;
        r->word.health = 1;
        r->word.nearest = r->word.driver_metric = -1;
        r->begun_s = r->t_s = INT64_MIN;
}

void dog_node_risk_failed(struct dog_node_risk *r, int64_t t_s)
{
        r->failed_s[r->failed++ % RISK_FAILURES] = t_s;
}

/* ---- outcomes ------------------------------------------------------------------------------------ */

static bool risk_failed_within(const struct dog_node_risk *r, int64_t from_s, int64_t to_s)
{
        for (unsigned i = 0; i < RISK_FAILURES && i < r->failed; i++)
                if (r->failed_s[i] > from_s && r->failed_s[i] <= to_s)
                        return true;
        return false;
}

/* A crossing answers every open word about this metric that reaches so far, at once. */
static void risk_crossed(struct dog_node_risk *r, const struct dog_node_risk_config *c, unsigned k,
                         int64_t t_s)
{
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                for (uint64_t i = r->taken[h]; i < r->said; i++) {
                        unsigned entry = (unsigned)(i % RISK_PENDING);
                        float *raw = &risk_said_at(r, entry, 1 + k)->raw[h];
                        if (isnan(*raw) || t_s - r->when_s[entry] > dog_node_horizon_s[h])
                                continue;
                        float weight = (float)r->period_s / (float)dog_node_horizon_s[h];
                        dog_node_grade_learn(&r->overload[h], *raw, true, weight);
                        if (h == 1 && c->metric[k].role == DOG_NODE_LINK)
                                dog_node_grade_learn(&r->link, 0, true, weight);
                        *raw = NAN; /* answered */
                }
}

static void risk_take(struct dog_node_risk *r, const struct dog_node_risk_config *c, int64_t now_s)
{
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                float weight = (float)r->period_s / (float)dog_node_horizon_s[h];
                while (r->taken[h] < r->said) {
                        unsigned entry = (unsigned)(r->taken[h] % RISK_PENDING);
                        int64_t said_s = r->when_s[entry];
                        if (said_s + dog_node_horizon_s[h] > now_s)
                                break;
                        r->taken[h]++;
                        dog_node_grade_learn(&r->failure[h], risk_said_at(r, entry, 0)->raw[h],
                                             risk_failed_within(r, said_s, said_s + dog_node_horizon_s[h]),
                                             weight);
                        for (unsigned k = 0; k < r->metrics; k++) {
                                float raw = risk_said_at(r, entry, 1 + k)->raw[h];
                                dog_node_grade_learn(&r->overload[h], raw, false, weight);
                                if (h == 1 && c->metric[k].role == DOG_NODE_LINK && !isnan(raw))
                                        dog_node_grade_learn(&r->link, 0, false, weight);
                        }
                }
        }
}

/* ---- a period is full ---------------------------------------------------------------------------- */

static enum dog_node_mode risk_mode(enum dog_node_role role)
{
        return role == DOG_NODE_DEVICE    ? DOG_NODE_MODE_DEVICE_OVERLOAD
               : role == DOG_NODE_TRAFFIC ? DOG_NODE_MODE_CONGESTION
                                          : DOG_NODE_MODE_LINK_FAILURE;
}

static void risk_overload(struct dog_node_risk *r, const struct dog_node_risk_config *c, unsigned entry)
{
        const struct dog_node *n = risk_at(r, r->node_at);
        struct dog_node_word *w = &r->word;
        float likeliest = 0;
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                w->overload[h] = NAN;
                w->has_overload_skill[h] = c->overload && dog_node_grade_has_skill(&r->overload[h]);
        }
        for (int i = 0; i < DOG_NODE_MODE_COUNT; i++)
                w->mode[i] = NAN;
        w->nearest = -1;
        for (unsigned k = 0; k < r->metrics; k++) {
                struct risk_said *said = risk_said_at(r, entry, 1 + k);
                float x[DOG_NODE_OVERLOAD_COUNT], raw[DOG_GBT_TARGETS_MAX] = {0};
                bool is_fresh =
                        n->metric[k].t_s == n->t_s && !isnan(dog_node_metric_limit_now(&n->metric[k]));
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        said->raw[h] = NAN;
                if (!is_fresh)
                        continue;
                bool is_above = n->metric[k].above_s == n->t_s;
                dog_node_overload_features(n, k, x);
                if (c->overload)
                        dog_gbt_log_odds_all(c->overload, x, raw);
                float before = 0;
                for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                        /* Above it already: there is nothing left to foresee. */
                        float p = is_above ? 1 : fmaxf(before, dog_node_grade_say(&r->overload[h], raw[h]));
                        before = p;
                        if (!is_above && (n->metric[k].above_s == INT64_MIN ||
                                          n->t_s - n->metric[k].above_s > dog_node_horizon_s[h]))
                                said->raw[h] = raw[h];
                        /* Metrics go together: the likeliest of them, not their product, is the node's. */
                        w->overload[h] = fmaxf(p, w->overload[h]);
                        if (h != 1)
                                continue;
                        enum dog_node_mode mode = risk_mode(c->metric[k].role);
                        if (mode == DOG_NODE_MODE_LINK_FAILURE)
                                p = is_above ? 1 : dog_node_grade_base(&r->link);
                        w->mode[mode] = fmaxf(p, w->mode[mode]);
                        if (w->nearest < 0 || p > likeliest) {
                                w->nearest = (int)k;
                                likeliest = p;
                        }
                }
        }
        w->has_mode_skill[DOG_NODE_MODE_DEVICE_OVERLOAD] = w->has_mode_skill[DOG_NODE_MODE_CONGESTION] =
                w->has_overload_skill[1];
        w->has_mode_skill[DOG_NODE_MODE_LINK_FAILURE] = false;
}

/* The way in which this moment is rarest in the node's past. */
static void risk_driver(const struct dog_node *n, struct dog_node_word *w)
{
        static const char *const words[] = {
#define X(name, text) text,
                DOG_NODE_WAYS(X)
#undef X
        };
        float most = 1.3F; /* rarer than one moment in twenty */
        w->driver = NULL;
        w->driver_metric = -1;
        for (int way = 0; way < DOG_NODE_WAY_COUNT; way++) {
                int at = way < DOG_NODE_WAY_TOGETHER ? DOG_NODE_LEVEL_RANK + 4 * way : DOG_NODE_TOGETHER_RANK;
                if (n->feature[at] > most) {
                        most = n->feature[at];
                        w->driver = words[way];
                        w->driver_metric = way < DOG_NODE_WAY_TOGETHER ? (int)n->worst[way] : -1;
                }
        }
}

static void risk_judge(struct dog_node_risk *r, const struct dog_node_risk_config *c, int64_t t_s)
{
        struct dog_node *n = risk_at(r, r->node_at);
        const double *sum = risk_at(r, r->sum_at);
        const uint32_t *count = risk_at(r, r->count_at);
        float mean[DOG_NODE_METRICS_MAX];
        for (unsigned k = 0; k < r->metrics; k++)
                mean[k] = count[k] ? (float)(sum[k] / count[k]) : NAN;
        if (n->t_s != INT64_MIN && t_s - n->t_s > RISK_GAP * r->period_s)
                risk_forget(r);
        if (!dog_node_observe(n, t_s, mean))
                return;
        for (unsigned k = 0; k < r->metrics; k++)
                if (n->metric[k].above_s == t_s)
                        risk_crossed(r, c, k, t_s);
        risk_take(r, c, t_s);

        unsigned entry = (unsigned)(r->said % RISK_PENDING);
        float raw[DOG_GBT_TARGETS_MAX] = {0};
        struct dog_node_word *w = &r->word;
        w->t_s = t_s;
        w->health = dog_node_health(n);
        w->unusual = dog_node_unusual(n);
        float alarm = dog_node_alarm(n), before = 0;
        if (c->failure)
                dog_gbt_log_odds_all(c->failure, dog_node_features(n), raw);
        for (int h = 0; h < DOG_NODE_HORIZONS; h++) {
                risk_said_at(r, entry, 0)->raw[h] = raw[h];
                w->has_failure_skill[h] = c->failure && dog_node_grade_has_skill(&r->failure[h]);
                float p = dog_node_grade_say(&r->failure[h], raw[h]);
                before = w->failure[h] = fmaxf(before, dog_node_grade_alarmed(&r->failure[h], p, alarm));
        }
        risk_overload(r, c, entry);
        risk_driver(n, w);
        r->when_s[entry] = t_s;
        r->said++;
        /* Older than the ring: given up. Cannot be at a period of 10 s and more. */
        for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                if (r->said - r->taken[h] >= RISK_PENDING)
                        r->taken[h] = r->said - RISK_PENDING + 1;
}

bool dog_node_risk_observe(struct dog_node_risk *r, const struct dog_node_risk_config *c, int64_t t_s,
                           const float *value)
{
        if (r->t_s != INT64_MIN && t_s < r->t_s) {
                r->dropped++;
                return false;
        }
        bool is_new = false;
        if (r->begun_s == INT64_MIN)
                risk_period_begin(r, t_s);
        /* The period before ends with the first value of the next. */
        if (t_s - r->begun_s >= r->period_s && r->filled > 0) {
                risk_judge(r, c, r->begun_s + r->period_s);
                is_new = true;
                int64_t passed = (t_s - r->begun_s) / r->period_s;
                risk_period_begin(r, r->begun_s + passed * r->period_s);
        }
        double *sum = risk_at(r, r->sum_at);
        uint32_t *count = risk_at(r, r->count_at);
        int64_t *above_s = risk_at(r, r->above_at);
        for (unsigned k = 0; k < r->metrics; k++) {
                if (!isfinite(value[k]))
                        continue;
                sum[k] += (double)value[k];
                count[k]++;
                if (!(value[k] > c->metric[k].limit))
                        above_s[k] = INT64_MIN;
                else if (above_s[k] == INT64_MIN)
                        above_s[k] = t_s;
        }
        r->filled++;
        r->t_s = t_s;
        return is_new;
}

void dog_node_risk_word(const struct dog_node_risk *r, const struct dog_node_risk_config *c,
                        struct dog_node_word *to)
{
        const int64_t *above_s = (const int64_t *)((const char *)r + r->above_at);
        *to = r->word;
        for (unsigned k = 0; k < r->metrics; k++) {
                if (above_s[k] == INT64_MIN || r->t_s - above_s[k] < DOG_NODE_ABOVE_S)
                        continue;
                for (int h = 0; h < DOG_NODE_HORIZONS; h++)
                        to->overload[h] = 1;
                to->mode[risk_mode(c->metric[k].role)] = 1;
                to->nearest = (int)k;
                to->t_s = r->t_s;
        }
}

uint64_t dog_node_risk_dropped(const struct dog_node_risk *r)
{
        return r->dropped;
}

const char *dog_node_mode_word(enum dog_node_mode m)
{
        static const char *const word[] = {
#define X(name, text) text,
                DOG_NODE_MODES(X)
#undef X
        };
        return m < DOG_NODE_MODE_COUNT ? word[m] : "?";
}

/* "memory: drifting away"; "nothing is unusual" */
static void risk_driver_words(const struct dog_node_word *w, const struct dog_node_risk_config *c, char *to,
                              size_t size)
{
        if (!w->driver)
                snprintf(to, size, "nothing is unusual");
        else if (w->driver_metric >= 0)
                snprintf(to, size, "%s: %s", c->metric[w->driver_metric].name, w->driver);
        else
                snprintf(to, size, "%s", w->driver);
}

int dog_node_word_trouble(const struct dog_node_word *w, const struct dog_node_risk_config *c, char *to,
                          size_t size)
{
        char why[160];
        if (w->nearest >= 0 && w->overload[1] >= 1)
                return snprintf(to, size, "%s is above its limit", c->metric[w->nearest].name);
        if (w->unusual < 0.5F || !w->driver)
                return snprintf(to, size, "%s", "");
        risk_driver_words(w, c, why, sizeof(why));
        return snprintf(to, size, "unusual: %s", why);
}

int dog_node_word_text(const struct dog_node_word *w, const struct dog_node_risk_config *c, char *to,
                       size_t size)
{
        if (w->t_s == INT64_MIN)
                return snprintf(to, size, "nothing is known yet: the first minute is not over");
        char near[128] = "no metric has a limit yet", why[160];
        if (w->nearest >= 0 && w->overload[1] >= 1)
                snprintf(near, sizeof(near), "%s is above its limit", c->metric[w->nearest].name);
        else if (w->nearest >= 0)
                snprintf(near, sizeof(near), "%s may cross its limit within 15 min (%.1f %%%s)",
                         c->metric[w->nearest].name, (double)w->overload[1] * 100,
                         w->has_overload_skill[1] ? "" : ", its usual rate: no skill here");
        risk_driver_words(w, c, why, sizeof(why));
        return snprintf(to, size, "health %.2f, unusual %.2f; %s; failure within 15 min %.2f %%%s; %s",
                        (double)w->health, (double)w->unusual, near, (double)w->failure[1] * 100,
                        w->has_failure_skill[1] ? "" : " (base rate: no skill)", why);
}
