#include "models/ensemble.h"

#include "models/fastmath.h"

#include <string.h>

static const float ensemble_start[DOG_EXPERTS] = {
#define X(id, words, start) start,
        DOG_EXPERT_LIST(X)
#undef X
};
/* A chance is no smaller than this to the weights: nobody dies of one surprise. */
static const float ensemble_least = 0.002F;
/* ... and nobody's certainty drowns the others. */
static const float ensemble_surest = 1e-4F;
/* Which target each of the predictions under way belongs to, and how many that makes. */
static const uint8_t ensemble_target[DOG_ENSEMBLE_PENDING] = {0, 1, 1, 2, 2, 2, 2, DOG_ENSEMBLE_NEXT};
static const uint8_t ensemble_under_way[DOG_ENSEMBLE_HORIZONS] = {1, 2, 4};
/*
 * What follows a kept and a broken promise before anything was seen, and how many outcomes that is worth.
 * A promise that is worth giving is mostly kept; one that is broken stays so for a moment.
 */
static const float ensemble_before[DOG_ENSEMBLE_TARGETS][2] = {
        {0.01F, 0.8F}, {0.03F, 0.85F}, {0.1F, 0.9F}, {0.01F, 0.7F}};
static const float ensemble_doubt = 10.0F;
static const float ensemble_memory = 1000.0F; /* outcomes of each kind that count */

const char *dog_expert_name(int expert)
{
        static const char *const name[DOG_EXPERTS] = {
#define X(id, words, start) words,
                DOG_EXPERT_LIST(X)
#undef X
        };
        return expert >= 0 && expert < DOG_EXPERTS ? name[expert] : "nobody";
}

struct dog_ensemble_config dog_ensemble_config_default(void)
{
        return (struct dog_ensemble_config){
                .horizon_ns = {INT64_C(1000000000), INT64_C(5000000000), INT64_C(30000000000)},
                .gap_s = 5.0F,
                .rate = 0.5F,
                .share = 0.005F,
                .is_calibrating = true};
}

void dog_ensemble_init(struct dog_ensemble *e)
{
        memset(e, 0, sizeof(*e));
        e->last_ns = INT64_MIN;
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                e->taken_ns[h] = INT64_MIN;
                memcpy(e->start[h], ensemble_start, sizeof(e->start[h]));
                memcpy(e->weight[h], ensemble_start, sizeof(e->weight[h]));
                dog_calib_init(&e->calib[h]);
        }
        for (int m = 0; m < DOG_EXPERT_MODELS; m++)
                dog_brier_init(&e->record[m]);
        for (int k = 0; k < DOG_ENSEMBLE_PENDING; k++)
                e->pending[k].t_ns = INT64_MIN;
}

static float ensemble_seconds(int64_t later_ns, int64_t earlier_ns)
{
        return (float)((double)((uint64_t)later_ns - (uint64_t)earlier_ns) * 1e-9);
}

static bool is_chance(float p)
{
        return p >= 0 && p <= 1;
}

/* ---- those that need no model --------------------------------------------------------------- */

/* Shrunk towards what is usual while little was seen. */
static float ensemble_persistence(const struct dog_ensemble *e, int h)
{
        int now = e->is_bad;
        return (e->happened[h][now] + ensemble_doubt * ensemble_before[h][now]) /
               (e->counted[h][now] + ensemble_doubt);
}

static float ensemble_base(const struct dog_ensemble *e, int h)
{
        return (e->happened[h][0] + e->happened[h][1] + ensemble_doubt * ensemble_before[h][0]) /
               (e->counted[h][0] + e->counted[h][1] + ensemble_doubt);
}

static void ensemble_count(struct dog_ensemble *e, const struct dog_ensemble_pending *q, int h)
{
        int then = q->was_bad;
        float keep = e->counted[h][then] >= ensemble_memory ? 1.0F - 1.0F / ensemble_memory : 1.0F;
        e->happened[h][then] = e->happened[h][then] * keep + (q->is_bad ? 1.0F : 0.0F);
        e->counted[h][then] = e->counted[h][then] * keep + 1.0F;
}

/* ---- weights ---------------------------------------------------------------------------------- */

static void ensemble_weigh(struct dog_ensemble *e, const struct dog_ensemble_config *c,
                           const struct dog_ensemble_pending *q, int h)
{
        float *w = e->weight[h];
        float gained[DOG_EXPERTS] = {0};
        float before = 0;
        float after = 0;
        if (!(c->rate > 0))
                return;
        for (int i = 0; i < DOG_EXPERTS; i++) {
                if (!is_chance(q->p[i]))
                        continue;
                float p = q->is_bad ? q->p[i] : 1.0F - q->p[i];
                p = p > ensemble_least ? p : ensemble_least;
                /* The usual rates need no logarithm. */
                gained[i] = w[i] * (c->rate == 0.5F ? sqrtf(p) : c->rate == 1.0F ? p : powf(p, c->rate));
                before += w[i];
                after += gained[i];
        }
        if (!(after > 0))
                return;
        /* Together the awake keep what they had; then a little of everything goes back to the start. */
        for (int i = 0; i < DOG_EXPERTS; i++) {
                float now = is_chance(q->p[i]) ? gained[i] * before / after : w[i];
                w[i] = now + c->share * (e->start[h][i] - now);
        }
}

static void ensemble_mix(const struct dog_ensemble *e, int h, struct dog_ensemble_belief *b)
{
        float sum = 0;
        float odds = 0;
        for (int i = 0; i < DOG_EXPERTS; i++) {
                bool is_heard = is_chance(b->of[h][i]) && !(i < DOG_EXPERT_MODELS && e->is_disarmed[i]);
                b->weight[h][i] = is_heard ? e->weight[h][i] : 0;
                sum += b->weight[h][i];
        }
        for (int i = 0; i < DOG_EXPERTS; i++) {
                b->weight[h][i] /= sum;
                if (b->weight[h][i] > 0) {
                        float p = fminf(fmaxf(b->of[h][i], ensemble_surest), 1.0F - ensemble_surest);
                        odds += b->weight[h][i] * dog_fast_log(p / (1.0F - p));
                }
        }
        b->mixed[h] = 1.0F / (1.0F + dog_fast_exp(-odds));
}

/* ---- grading ---------------------------------------------------------------------------------- */

static void ensemble_record(struct dog_ensemble *e, const struct dog_ensemble_pending *q,
                            struct dog_ensemble_news *news)
{
        for (int m = 0; m < DOG_EXPERT_MODELS; m++) {
                if (!is_chance(q->p[m]))
                        continue;
                switch (dog_brier_learn(&e->record[m], (double)q->p[m], q->was_bad ? 1 : 0, q->is_bad)) {
                case DOG_BRIER_DISARMED:
                        e->is_disarmed[m] = true;
                        news->disarmed |= (uint8_t)(1U << m);
                        break;
                case DOG_BRIER_REARMED:
                        e->is_disarmed[m] = false;
                        news->rearmed |= (uint8_t)(1U << m);
                        break;
                case DOG_BRIER_SAME:
                        break;
                }
        }
}

static void ensemble_grade(struct dog_ensemble *e, const struct dog_ensemble_config *c,
                           struct dog_ensemble_pending *q, int h, struct dog_ensemble_news *news)
{
        struct dog_ensemble_outcome *o = &news->outcome[news->outcomes++];
        *o = (struct dog_ensemble_outcome){.t_ns = q->t_ns,
                                           .p = q->said,
                                           .p_persistence = q->was_bad ? 1.0F : 0.0F,
                                           .is_bad = q->is_bad,
                                           .target = (uint8_t)h};
        memcpy(o->of, q->p, sizeof(o->of));
        ensemble_weigh(e, c, q, h);
        ensemble_count(e, q, h);
        if (h == 0)
                ensemble_record(e, q, news);
        if (c->is_calibrating)
                dog_calib_learn(&e->calib[h], (double)q->mixed, q->is_bad);
        q->t_ns = INT64_MIN;
}

/* Which predictions does this sample belong to, and which has it made due? */
static void ensemble_settle(struct dog_ensemble *e, const struct dog_ensemble_config *c, int64_t t_ns,
                            bool is_bad, bool is_gap, struct dog_ensemble_news *news)
{
        /* Clocks jitter: half a step after its end a sample still belongs to a horizon. */
        float slack_s = 0.5F * e->step_s;
        for (int k = 0; k < DOG_ENSEMBLE_PENDING; k++) {
                struct dog_ensemble_pending *q = &e->pending[k];
                int h = ensemble_target[k];
                if (q->t_ns == INT64_MIN)
                        continue;
                if (is_gap) {
                        q->t_ns = INT64_MIN; /* nobody knows what happened meanwhile */
                        continue;
                }
                if (h == DOG_ENSEMBLE_NEXT) {
                        q->is_bad = is_bad;
                        ensemble_grade(e, c, q, h, news);
                        continue;
                }
                float age_s = ensemble_seconds(t_ns, q->t_ns);
                float horizon_s = ensemble_seconds(c->horizon_ns[h], 0);
                if (age_s <= horizon_s + slack_s) {
                        q->seen = (uint16_t)(q->seen + (q->seen < UINT16_MAX));
                        q->is_bad |= is_bad;
                }
                if (age_s < horizon_s - slack_s)
                        continue;
                float expected = e->step_s > 0 ? horizon_s / e->step_s : 1.0F;
                if (q->seen == 0 || (float)q->seen < 0.5F * expected)
                        q->t_ns = INT64_MIN;
                else
                        ensemble_grade(e, c, q, h, news);
        }
}

void dog_ensemble_observe(struct dog_ensemble *e, const struct dog_ensemble_config *c, int64_t t_ns,
                          bool is_bad, struct dog_ensemble_news *news)
{
        bool is_first = e->last_ns == INT64_MIN;
        news->outcomes = 0;
        news->disarmed = news->rearmed = 0;
        if (!is_first && t_ns <= e->last_ns)
                return;
        float dt_s = is_first ? 0 : ensemble_seconds(t_ns, e->last_ns);
        bool is_gap = dt_s > c->gap_s && dt_s > 2.5F * e->step_s;
        ensemble_settle(e, c, t_ns, is_bad, is_gap, news);
        e->count += e->count < UINT32_MAX;
        if (e->count == 2)
                e->step_s = dt_s;
        else if (e->count > 2)
                e->step_s += 0.05F * (fminf(dt_s, 2.0F * e->step_s) - e->step_s);
        e->is_bad = is_bad;
        e->last_ns = t_ns;
}

/* ---- believing -------------------------------------------------------------------------------- */

void dog_ensemble_predict(const struct dog_ensemble *e, const struct dog_ensemble_config *c,
                          const float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS],
                          struct dog_ensemble_belief *out)
{
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                for (int m = 0; m < DOG_EXPERT_MODELS; m++)
                        out->of[h][m] = said[m][h];
                out->of[h][DOG_EXPERT_PERSISTENCE] = ensemble_persistence(e, h);
                out->of[h][DOG_EXPERT_BASE] = ensemble_base(e, h);
                ensemble_mix(e, h, out);
                out->p[h] = c->is_calibrating ? (float)dog_calib_apply(&e->calib[h], (double)out->mixed[h])
                                              : out->mixed[h];
        }
}

void dog_ensemble_step(struct dog_ensemble *e, const struct dog_ensemble_config *c,
                       const float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS], int64_t now_ns,
                       struct dog_ensemble_belief *out)
{
        dog_ensemble_predict(e, c, said, out);
        if (e->count == 0)
                return;
        /* At even distances: not "as soon as one is free", since bad outcomes are not known sooner here
         * than good ones, but a gap must not make two of them the same. */
        for (int k = 0; k < DOG_ENSEMBLE_PENDING; k++) {
                struct dog_ensemble_pending *q = &e->pending[k];
                int h = ensemble_target[k];
                float apart_s = h == DOG_ENSEMBLE_NEXT ? 0
                                                       : ensemble_seconds(c->horizon_ns[h], 0) /
                                                                 (float)ensemble_under_way[h];
                if (q->t_ns != INT64_MIN ||
                    (e->taken_ns[h] != INT64_MIN &&
                     (now_ns <= e->taken_ns[h] ||
                      ensemble_seconds(now_ns, e->taken_ns[h]) < apart_s - 0.5F * e->step_s)))
                        continue;
                *q = (struct dog_ensemble_pending){
                        .t_ns = now_ns, .mixed = out->mixed[h], .said = out->p[h], .was_bad = e->is_bad};
                memcpy(q->p, out->of[h], sizeof(q->p));
                e->taken_ns[h] = now_ns;
        }
}

int dog_ensemble_speaker(const struct dog_ensemble_belief *b, int target)
{
        int best = -1;
        for (int m = 0; m < DOG_EXPERT_MODELS; m++)
                if (b->weight[target][m] > 0 && (best < 0 || b->weight[target][m] > b->weight[target][best]))
                        best = m;
        return best;
}

void dog_ensemble_trust(struct dog_ensemble *e, int target, float share)
{
        if (target < 0 || target >= DOG_ENSEMBLE_TARGETS || !(share >= 0))
                return;
        float *start = e->start[target];
        float models = ensemble_start[DOG_EXPERT_LOGISTIC] + ensemble_start[DOG_EXPERT_TREES];
        share = fminf(fmaxf(share, 0.05F), 0.95F);
        start[DOG_EXPERT_TREES] = share * models;
        start[DOG_EXPERT_LOGISTIC] = (1.0F - share) * models;
}

void dog_ensemble_renew(struct dog_ensemble *e, enum dog_expert model)
{
        if ((int)model >= DOG_EXPERT_MODELS)
                return;
        dog_brier_init(&e->record[model]);
        e->is_disarmed[model] = false;
        for (int k = 0; k < DOG_ENSEMBLE_PENDING; k++)
                e->pending[k].p[model] = NAN;
        for (int h = 0; h < DOG_ENSEMBLE_TARGETS; h++) {
                /* The others keep their proportions. */
                float *w = e->weight[h];
                const float *start = e->start[h];
                float rest = 1.0F - w[model];
                for (int i = 0; i < DOG_EXPERTS; i++)
                        w[i] = rest > 0 ? w[i] * (1.0F - start[model]) / rest : start[i];
                w[model] = start[model];
        }
}
