#include "models/path_risk.h"

#include "models/fastmath.h"

#include <string.h>

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
        dog_risk_model_init(&s->logistic, c);
}

/* ---- one path ------------------------------------------------------------------------------ */

void dog_path_risk_init(struct dog_path_risk *r)
{
        dog_risk_init(&r->risk);
        dog_path_track_init(&r->track);
}

int dog_path_risk_observe(struct dog_path_risk *r, struct dog_path_shared *s,
                          const struct dog_path_sample *sample, struct dog_risk_outcome *out)
{
        struct dog_risk_sample own = {.t_ns = sample->t_ns,
                                      .margin = sample->margin,
                                      .is_bad = sample->is_bad,
                                      .load = sample->load};
        if (!dog_path_track_observe(&r->track, sample))
                return 0;
        return dog_risk_observe(&r->risk, &s->logistic, &s->config, &own, out);
}

void dog_path_group_add(struct dog_path_group *g, const struct dog_path_risk *r)
{
        dog_risk_peers_add(&g->peers, &r->risk);
        dog_path_peers_add(&g->faces, &r->track);
}

enum dog_path_regime dog_path_regime_of(const struct dog_path_track *t)
{
        return t->has_rate > 0.5F ? DOG_PATH_RATE : DOG_PATH_PING;
}

/* What the trees say; false when there are none for what this path measures. */
static bool path_risk_ask(const struct dog_path_risk *r, const struct dog_path_shared *s,
                          const struct dog_path_group *g, struct dog_path_belief *out)
{
        out->regime = (int)dog_path_regime_of(&r->track);
        if (!s->model || r->track.count == 0)
                return false;
        const struct dog_path_expert *expert = &s->model->expert[out->regime];
        if (!expert->trees)
                return false;
        /* All at once is less work, unless the trees are of more than these targets. */
        float all[DOG_GBT_TARGETS_MAX];
        bool is_all = expert->trees->targets <= DOG_RISK_TARGETS;
        dog_path_features(&r->track, g ? &g->faces : NULL, out->feature);
        if (is_all)
                dog_gbt_log_odds_all(expert->trees, out->feature, all);
        for (int t = 0; t < DOG_RISK_TARGETS; t++) {
                bool is_known = expert->target[t] >= 0;
                out->trees.share[t] = is_known ? expert->share[t] : 0;
                out->trees.log_odds[t] = 0;
                if (!is_known)
                        continue;
                unsigned target = (unsigned)expert->target[t];
                float odds = is_all ? all[target] : dog_gbt_log_odds(expert->trees, target, out->feature);
                out->trees.log_odds[t] = dog_path_iso_apply(&expert->iso[t], odds);
        }
        return true;
}

void dog_path_risk_predict(const struct dog_path_risk *r, const struct dog_path_shared *s,
                           const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out)
{
        out->has_trees = path_risk_ask(r, s, g, out);
        dog_risk_predict_with(&r->risk, &s->logistic, &s->config, g ? &g->peers : NULL,
                              out->has_trees ? &out->trees : NULL, now_ns, &out->risk);
}

void dog_path_risk_step(struct dog_path_risk *r, const struct dog_path_shared *s,
                        const struct dog_path_group *g, int64_t now_ns, struct dog_path_belief *out)
{
        out->has_trees = path_risk_ask(r, s, g, out);
        dog_risk_step_with(&r->risk, &s->logistic, &s->config, g ? &g->peers : NULL,
                           out->has_trees ? &out->trees : NULL, now_ns, &out->risk);
}

/* Copies are worth a sample, so pairs go by the next one. */
double dog_path_risk_joint(const struct dog_path_shared *s, const struct dog_path_belief *a,
                           const struct dog_path_belief *b)
{
        float p_a = a->risk.p[DOG_RISK_NEXT];
        float good_b = 1.0F - b->risk.p[DOG_RISK_NEXT];
        double product = (double)p_a * (double)good_b;
        const struct dog_path_expert *expert = s->model ? &s->model->expert[a->regime] : NULL;
        if (!expert || !expert->pairs || !a->has_trees || !b->has_trees || a->regime != b->regime)
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

int dog_path_drivers(const struct dog_path_shared *s, const struct dog_path_belief *b,
                     enum dog_risk_target target, struct dog_driver *out, int most)
{
        struct dog_driver own[DOG_RISK_GROUPS];
        float sum[DOG_RISK_GROUPS] = {0};
        if ((unsigned)target >= DOG_RISK_TARGETS || most <= 0)
                return 0;
        float share = b->has_trees ? b->trees.share[target] : 0;
        int known = dog_risk_drivers(&s->logistic, &b->risk, target, own, DOG_RISK_GROUPS);
        if (!(share > 0))
                return dog_risk_drivers(&s->logistic, &b->risk, target, out, most);
        for (int i = 0; i < known; i++)
                sum[own[i].group] += (1 - share) * own[i].log_odds;
        const struct dog_path_expert *expert = &s->model->expert[b->regime];
        float each[DOG_PATH_FEATURES];
        dog_gbt_contributions(expert->trees, (unsigned)expert->target[target], b->feature, each);
        for (int i = 0; i < DOG_PATH_FEATURES; i++)
                sum[dog_path_feature_group(i)] += share * each[i];
        /* Largest first; of equal ones the first group. */
        int count = 0;
        for (int g = 0; g < DOG_RISK_GROUPS; g++) {
                if (sum[g] == 0)
                        continue;
                int at = count < most ? count : most;
                while (at > 0 && fabsf(out[at - 1].log_odds) < fabsf(sum[g])) {
                        if (at < most)
                                out[at] = out[at - 1];
                        at--;
                }
                if (at < most)
                        out[at] = (struct dog_driver){
                                .name = dog_risk_group_name(g), .group = (uint8_t)g, .log_odds = sum[g]};
                count += count < most;
        }
        return count;
}
