#include "models/path_risk.h"

#include "models/fastmath.h"

#include <string.h>

_Static_assert((int)DOG_RISK_TARGETS == (int)DOG_ENSEMBLE_TARGETS &&
                       (int)DOG_RISK_NEXT == (int)DOG_ENSEMBLE_NEXT,
               "the logistic and the mixture speak of the same targets");

const char *dog_path_regime_name(int regime)
{
        static const char *const name[DOG_PATH_REGIMES] = {
                [DOG_PATH_PING] = "ping", [DOG_PATH_RATE] = "rate"};
        return regime >= 0 && regime < DOG_PATH_REGIMES ? name[regime] : "unknown";
}

const char *dog_path_target_name(int target)
{
        static const char *const name[DOG_RISK_TARGETS] = {
                [DOG_RISK_H0] = "1s", [DOG_RISK_H1] = "5s", [DOG_RISK_H2] = "30s", [DOG_RISK_NEXT] = "next"};
        return target >= 0 && target < DOG_RISK_TARGETS ? name[target] : "unknown";
}

/* ---- pairs --------------------------------------------------------------------------------- */

void dog_path_joint_features(const float a[DOG_PATH_FEATURES], const float b[DOG_PATH_FEATURES],
                             float out[DOG_PATH_JOINT_FEATURES])
{
        static const uint16_t feature[DOG_PATH_PAIRS] = {
#define X(id) DOG_PATH_F_##id,
                DOG_PATH_PAIR_LIST(X)
#undef X
        };
        for (int i = 0; i < DOG_PATH_PAIRS; i++) {
                out[i] = a[feature[i]];
                out[DOG_PATH_PAIRS + i] = b[feature[i]];
        }
}

const char *const *dog_path_joint_ids(void)
{
        static const char *const id[DOG_PATH_JOINT_FEATURES] = {
#define X(feature) "A_" #feature,
                DOG_PATH_PAIR_LIST(X)
#undef X
#define X(feature) "B_" #feature,
                        DOG_PATH_PAIR_LIST(X)
#undef X
        };
        return id;
}

/* ---- the model ----------------------------------------------------------------------------- */

void dog_path_model_init(struct dog_path_model *m)
{
        memset(m, 0, sizeof(*m));
        for (int r = 0; r < DOG_PATH_REGIMES; r++)
                for (int t = 0; t < DOG_RISK_TARGETS; t++)
                        m->expert[r].target[t] = -1;
}

float dog_path_iso_apply(const struct dog_path_iso *iso, float log_odds)
{
        uint32_t i = 0;
        if (iso->points == 0)
                return log_odds;
        while (i < iso->points && iso->at[i] < log_odds)
                i++;
        /* Beyond its ends the polygon goes on in parallel to "as it is": order is kept everywhere. */
        if (i == 0)
                return iso->to[0] + (log_odds - iso->at[0]);
        if (i == iso->points)
                return iso->to[i - 1] + (log_odds - iso->at[i - 1]);
        float span = iso->at[i] - iso->at[i - 1];
        float share = span > 0 ? (log_odds - iso->at[i - 1]) / span : 1;
        return iso->to[i - 1] + share * (iso->to[i] - iso->to[i - 1]);
}

void dog_path_shared_init(struct dog_path_shared *s, const struct dog_risk_config *c,
                          const struct dog_path_model *model)
{
        s->model = model;
        s->config = *c;
        /* What is said is corrected, once; not each voice before it as well. */
        s->config.is_calibrating = false;
        s->mix = dog_ensemble_config_default();
        s->mix.is_calibrating = c->is_calibrating;
        memcpy(s->mix.horizon_ns, c->horizon_ns, sizeof(s->mix.horizon_ns));
        dog_risk_model_init(&s->logistic, c);
}

/* ---- one path ------------------------------------------------------------------------------ */

static void path_risk_forget_trees(struct dog_path_risk *r)
{
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                r->trees[t] = NAN;
}

void dog_path_risk_init(struct dog_path_risk *r, struct dog_path_track *track)
{
        dog_risk_init(&r->risk);
        dog_ensemble_init(&r->mix);
        r->track = track;
        r->regime = -1;
        path_risk_forget_trees(r);
}

void dog_path_risk_renew(struct dog_path_risk *r, struct dog_path_track *track)
{
        r->track = track;
        r->regime = -1;
        path_risk_forget_trees(r);
        dog_ensemble_renew(&r->mix, DOG_EXPERT_TREES);
}

void dog_path_risk_observe(struct dog_path_risk *r, struct dog_path_shared *s,
                           const struct dog_path_sample *sample, struct dog_ensemble_news *news)
{
        struct dog_risk_sample own = {.t_ns = sample->t_ns,
                                      .margin = sample->margin,
                                      .is_bad = sample->is_bad,
                                      .load = sample->load,
                                      .radio = sample->radio};
        if (r->track)
                dog_path_track_observe(r->track, sample);
        dog_risk_observe(&r->risk, &s->logistic, &s->config, &own, NULL);
        dog_ensemble_observe(&r->mix, &s->mix, sample->t_ns, sample->is_bad, news);
}

void dog_path_group_add(struct dog_path_group *g, const struct dog_path_risk *r)
{
        dog_risk_peers_add(&g->peers, &r->risk);
        if (r->track)
                dog_path_peers_add(&g->faces, r->track);
}

enum dog_path_regime dog_path_regime_of(const struct dog_path_track *t)
{
        return t->has_rate > 0.5F ? DOG_PATH_RATE : DOG_PATH_PING;
}

/* The trees for what this path measures; NULL: none. */
static const struct dog_path_expert *path_risk_expert(const struct dog_path_risk *r,
                                                      const struct dog_path_shared *s)
{
        if (!s->model || !r->track || r->track->count == 0)
                return NULL;
        const struct dog_path_expert *expert = &s->model->expert[dog_path_regime_of(r->track)];
        return expert->trees ? expert : NULL;
}

/* Where these trees have never spoken about this path, their weight is what training chose. */
static void path_risk_trust(struct dog_path_risk *r, const struct dog_path_expert *expert, int regime)
{
        if (r->regime == regime)
                return;
        r->regime = (int8_t)regime;
        for (int t = 0; t < DOG_RISK_TARGETS; t++)
                if (expert->target[t] >= 0)
                        dog_ensemble_trust(&r->mix, t, expert->share[t]);
        dog_ensemble_renew(&r->mix, DOG_EXPERT_TREES);
}

/* Once a sample: what the trees see does not change in between. */
static void path_risk_ask(struct dog_path_risk *r, const struct dog_path_shared *s,
                          const struct dog_path_group *g, float feature[DOG_PATH_FEATURES])
{
        const struct dog_path_expert *expert = path_risk_expert(r, s);
        path_risk_forget_trees(r);
        if (!expert)
                return;
        path_risk_trust(r, expert, (int)dog_path_regime_of(r->track));
        /* All at once is less work, unless the trees are of more than these targets. */
        float all[DOG_GBT_TARGETS_MAX];
        bool is_all = expert->trees->targets <= DOG_RISK_TARGETS;
        dog_path_features(r->track, g ? &g->faces : NULL, feature);
        if (is_all)
                dog_gbt_log_odds_all(expert->trees, feature, all);
        for (int t = 0; t < DOG_RISK_TARGETS; t++) {
                if (expert->target[t] < 0)
                        continue;
                unsigned target = (unsigned)expert->target[t];
                float odds = is_all ? all[target] : dog_gbt_log_odds(expert->trees, target, feature);
                r->trees[t] = 1.0F / (1.0F + dog_fast_exp(-dog_path_iso_apply(&expert->iso[t], odds)));
        }
}

static void path_risk_said(const struct dog_path_risk *r, const struct dog_path_shared *s,
                           struct dog_path_belief *b, float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS])
{
        b->has_trees = path_risk_expert(r, s) != NULL;
        b->regime = b->has_trees ? (int)dog_path_regime_of(r->track) : -1;
        memcpy(said[DOG_EXPERT_LOGISTIC], b->risk.p, sizeof(said[0]));
        memcpy(said[DOG_EXPERT_TREES], r->trees, sizeof(said[0]));
}

void dog_path_risk_predict(const struct dog_path_risk *r, const struct dog_path_shared *s,
                           const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out)
{
        float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
        dog_risk_predict(&r->risk, &s->logistic, &s->config, g ? &g->peers : NULL, now_ns, &out->risk);
        path_risk_said(r, s, out, said);
        dog_ensemble_predict(&r->mix, &s->mix, said, &out->mix);
}

void dog_path_risk_step(struct dog_path_risk *r, const struct dog_path_shared *s,
                        const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out)
{
        float said[DOG_EXPERT_MODELS][DOG_ENSEMBLE_TARGETS];
        path_risk_ask(r, s, g, out->feature);
        dog_risk_step(&r->risk, &s->logistic, &s->config, g ? &g->peers : NULL, now_ns, &out->risk);
        path_risk_said(r, s, out, said);
        dog_ensemble_step(&r->mix, &s->mix, said, now_ns, &out->mix);
}

/* Copies are worth a sample, so pairs go by the next one. */
double dog_path_risk_joint(const struct dog_path_shared *s, const struct dog_path_belief *a,
                           const struct dog_path_belief *b)
{
        float p_a = a->mix.p[DOG_RISK_NEXT];
        float good_b = 1.0F - b->mix.p[DOG_RISK_NEXT];
        double product = (double)p_a * (double)good_b;
        if (!s->model || !a->has_trees || !b->has_trees || a->regime != b->regime)
                return product;
        const struct dog_path_expert *expert = &s->model->expert[a->regime];
        if (!expert->pairs)
                return product;
        float x[DOG_PATH_JOINT_FEATURES];
        dog_path_joint_features(a->feature, b->feature, x);
        float learned = dog_path_iso_apply(&expert->pairs_iso, dog_gbt_log_odds(expert->pairs, 0, x));
        float odds = 0.5F * (learned + dog_fast_log((float)(product / (1 - product))));
        double joint = 1 / (1 + (double)dog_fast_exp(-odds));
        joint = joint < (double)p_a ? joint : (double)p_a;
        return joint < (double)good_b ? joint : (double)good_b;
}

/* ---- explaining ---------------------------------------------------------------------------- */

/* What the trees' features add, summed up by groups. */
static int drivers_of_trees(const struct dog_path_risk *r, const struct dog_path_expert *expert,
                            const struct dog_path_group *g, enum dog_risk_target target,
                            struct dog_driver *out, int most)
{
        float feature[DOG_PATH_FEATURES];
        float each[DOG_PATH_FEATURES];
        float sum[DOG_RISK_GROUPS] = {0};
        int count = 0;
        dog_path_features(r->track, g ? &g->faces : NULL, feature);
        dog_gbt_contributions(expert->trees, (unsigned)expert->target[target], feature, each);
        for (int i = 0; i < DOG_PATH_FEATURES; i++)
                sum[dog_path_feature_group(i)] += each[i];
        /* Largest first; of equal ones the first group. */
        for (int i = 0; i < DOG_RISK_GROUPS; i++) {
                if (sum[i] == 0)
                        continue;
                int at = count < most ? count : most;
                while (at > 0 && fabsf(out[at - 1].log_odds) < fabsf(sum[i])) {
                        if (at < most)
                                out[at] = out[at - 1];
                        at--;
                }
                if (at < most)
                        out[at] = (struct dog_driver){
                                .name = dog_risk_group_name(i), .group = (uint8_t)i, .log_odds = sum[i]};
                count += count < most;
        }
        return count;
}

int dog_path_drivers(const struct dog_path_risk *r, const struct dog_path_shared *s,
                     const struct dog_path_group *g, const struct dog_path_belief *b,
                     enum dog_risk_target target, struct dog_driver *out, int most)
{
        const struct dog_path_expert *expert = path_risk_expert(r, s);
        if ((unsigned)target >= DOG_RISK_TARGETS || most <= 0)
                return 0;
        int speaker = dog_ensemble_speaker(&b->mix, (int)target);
        /* Between a sample and its belief a member may have begun to measure what other trees are for. */
        if (speaker == DOG_EXPERT_TREES && expert && expert->target[target] >= 0)
                return drivers_of_trees(r, expert, g, target, out, most);
        if (speaker == DOG_EXPERT_LOGISTIC)
                return dog_risk_drivers(&s->logistic, &b->risk, target, out, most);
        return 0;
}
