#include "risk_fit.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { F = DOG_RISK_FEATURES };
static const double risk_fit_flat = 0.05; /* standard deviation under which a feature is constant */

static int8_t risk_rows_outcome(const struct dog_path_trace *t, int p, int k, int64_t horizon_ns)
{
        const struct dog_path_point *row = t->point + (size_t)p * (size_t)t->length;
        int steps = (int)(horizon_ns / (t->step_ms * DOG_MS));
        int seen = 0;
        bool is_bad = false;
        if (k + steps >= t->length || steps < 1)
                return -1;
        for (int i = k + 1; i <= k + steps; i++) {
                seen += row[i].is_seen;
                is_bad |= row[i].is_bad;
        }
        if (seen * 10 < steps * 8)
                return -1;
        return is_bad ? 1 : 0;
}

static int risk_rows_add(struct risk_rows *rows, const struct risk_row *row)
{
        if (rows->count == rows->room) {
                size_t room = rows->room ? 2 * rows->room : 4096;
                struct risk_row *more = realloc(rows->list, room * sizeof(*more));
                if (!more)
                        return -ENOMEM;
                rows->list = more;
                rows->room = room;
        }
        rows->list[rows->count++] = *row;
        return 0;
}

static int risk_rows_step(struct risk_rows *rows, const struct dog_path_trace *t, int index, int k,
                          struct dog_risk *member, struct dog_risk_model *m, const struct dog_risk_config *c,
                          const struct risk_fit_options *o)
{
        struct dog_risk_peers peers = {0};
        int64_t t_ns = k * t->step_ms * DOG_MS;
        for (int p = 0; p < t->paths; p++) {
                const struct dog_path_point *q = &t->point[p * t->length + k];
                struct dog_risk_sample sample = {.t_ns = t_ns, .margin = q->margin, .is_bad = q->is_bad_seen};
                if (q->is_seen)
                        dog_risk_observe(&member[p], m, c, &sample, NULL);
                dog_risk_peers_add(&peers, &member[p]);
        }
        for (int p = 0; p < t->paths; p++) {
                const struct dog_path_point *q = &t->point[p * t->length + k];
                struct dog_risk_belief belief;
                struct risk_row row = {.trace = index, .path = p, .step = k};
                if (!q->is_seen || t_ns - member[p].first_ns < 2 * DOG_S)
                        continue;
                dog_risk_predict(&member[p], m, c, &peers, t_ns, &belief);
                memcpy(row.feature, belief.feature, sizeof(row.feature));
                for (int h = 0; h < DOG_RISK_HORIZONS; h++)
                        row.outcome[h] = risk_rows_outcome(t, p, k, o->horizon_ns[h]);
                row.outcome[DOG_RISK_NEXT] = risk_rows_outcome(t, p, k, t->step_ms * DOG_MS);
                row.is_onset = member[p].bad_ns == INT64_MIN || t_ns - member[p].bad_ns >= DOG_S;
                if (risk_rows_add(rows, &row) < 0)
                        return -ENOMEM;
        }
        return 0;
}

int risk_rows_make(struct risk_rows *rows, const struct dog_path_traces *t, const struct risk_fit_options *o,
                   struct dog_err *e)
{
        struct dog_risk_config c = dog_risk_config_default();
        struct dog_risk_model m;
        memset(rows, 0, sizeof(*rows));
        c.learn_rate = 0;
        c.is_calibrating = false;
        dog_risk_model_init(&m, &c);
        for (int i = 0; i < t->count; i++) {
                struct dog_risk member[DOG_PATH_TRACE_PATHS];
                for (int p = 0; p < DOG_PATH_TRACE_PATHS; p++)
                        dog_risk_init(&member[p]);
                for (int k = 0; k < t->list[i].length; k++)
                        if (risk_rows_step(rows, &t->list[i], i, k, member, &m, &c, o) < 0) {
                                risk_rows_free(rows);
                                return dog_err_set(e, -ENOMEM, "out of memory for the rows of %s",
                                                   t->list[i].name);
                        }
        }
        return 0;
}

void risk_rows_free(struct risk_rows *rows)
{
        free(rows->list);
        memset(rows, 0, sizeof(*rows));
}

/* Solves a x = b for a positive definite a, in place (Cholesky). */
static int risk_fit_solve(double a[F][F], double b[F])
{
        for (int i = 0; i < F; i++) {
                for (int j = 0; j <= i; j++) {
                        double sum = a[i][j];
                        for (int k = 0; k < j; k++)
                                sum -= a[i][k] * a[j][k];
                        if (i == j && sum <= 0)
                                return -EDOM;
                        a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
                }
        }
        for (int i = 0; i < F; i++) {
                for (int k = 0; k < i; k++)
                        b[i] -= a[i][k] * b[k];
                b[i] /= a[i][i];
        }
        for (int i = F - 1; i >= 0; i--) {
                for (int k = i + 1; k < F; k++)
                        b[i] -= a[k][i] * b[k];
                b[i] /= a[i][i];
        }
        return 0;
}

static bool risk_fit_is_used(const struct risk_row *row, const struct dog_path_traces *t,
                             const struct risk_fit_options *o)
{
        for (const char *const *d = o->skip_dates; d && *d; d++)
                if (strcmp(*d, t->list[row->trace].date) == 0)
                        return false;
        return true;
}

struct risk_fit_sums {
        double hessian[F][F], gradient[F];
};

/* What Newton's method works on: one target's rows, with the penalty. */
struct risk_fit_task {
        const struct risk_rows *rows;
        const struct dog_path_traces *traces;
        const struct risk_fit_options *options;
        double ridge[F];
        int target;
};

static bool risk_fit_row(const struct risk_fit_task *k, const struct risk_row *row)
{
        return row->outcome[k->target] >= 0 && risk_fit_is_used(row, k->traces, k->options);
}

static double risk_fit_odds(const double weight[F], const struct risk_row *row)
{
        double z = 0;
        for (int i = 0; i < F; i++)
                z += weight[i] * (double)row->feature[i];
        return z;
}

/* Minus the penalised log-likelihood. */
static double risk_fit_cost(const struct risk_fit_task *k, const double weight[F])
{
        double cost = 0;
        for (size_t r = 0; r < k->rows->count; r++) {
                const struct risk_row *row = &k->rows->list[r];
                if (!risk_fit_row(k, row))
                        continue;
                double z = risk_fit_odds(weight, row);
                cost += (z > 0 ? z + log1p(exp(-z)) : log1p(exp(z))) - z * row->outcome[k->target];
        }
        for (int i = 0; i < F; i++)
                cost += 0.5 * k->ridge[i] * weight[i] * weight[i];
        return cost;
}

/* The direction of one Newton step, in s->gradient. */
static int risk_fit_direction(const struct risk_fit_task *k, const double weight[F], struct risk_fit_sums *s)
{
        memset(s, 0, sizeof(*s));
        for (size_t r = 0; r < k->rows->count; r++) {
                const struct risk_row *row = &k->rows->list[r];
                if (!risk_fit_row(k, row))
                        continue;
                double p = 1 / (1 + exp(-risk_fit_odds(weight, row)));
                double error = row->outcome[k->target] - p;
                double curve = p * (1 - p);
                for (int i = 0; i < F; i++) {
                        double x = (double)row->feature[i];
                        s->gradient[i] += error * x;
                        for (int j = 0; j <= i; j++)
                                s->hessian[i][j] += curve * x * (double)row->feature[j];
                }
        }
        for (int i = 0; i < F; i++) {
                s->hessian[i][i] += k->ridge[i];
                s->gradient[i] -= k->ridge[i] * weight[i];
                for (int j = 0; j < i; j++)
                        s->hessian[j][i] = s->hessian[i][j];
        }
        return risk_fit_solve(s->hessian, s->gradient);
}

/* Newton's method; a step that makes things worse is halved until it does not. */
static int risk_fit_target(const struct risk_fit_task *k, double weight[F])
{
        static struct risk_fit_sums sums;
        double cost = risk_fit_cost(k, weight);
        for (int round = 0; round < 30; round++) {
                double tried[F];
                double step = 1;
                double now;
                if (risk_fit_direction(k, weight, &sums) < 0)
                        return -EDOM;
                do {
                        for (int i = 0; i < F; i++)
                                tried[i] = weight[i] + step * sums.gradient[i];
                        now = risk_fit_cost(k, tried);
                        step /= 2;
                } while (!(now <= cost) && step > 1e-4);
                if (!(now <= cost))
                        break;
                memcpy(weight, tried, sizeof(tried));
                bool is_done = cost - now < 1e-4;
                cost = now;
                if (is_done)
                        break;
        }
        return 0;
}

int risk_fit(struct risk_prior *prior, const struct risk_rows *rows, const struct dog_path_traces *t,
             const struct risk_fit_options *o, struct dog_err *e)
{
        double square[F] = {0};
        double scale[F];
        double used = 0;
        memset(prior, 0, sizeof(*prior));
        for (size_t r = 0; r < rows->count; r++) {
                const struct risk_row *row = &rows->list[r];
                if (!risk_fit_is_used(row, t, o))
                        continue;
                used++;
                for (int i = 0; i < F; i++) {
                        prior->mean[i] += (double)row->feature[i];
                        square[i] += (double)row->feature[i] * (double)row->feature[i];
                }
                for (int g = 0; g < DOG_RISK_TARGETS; g++)
                        if (row->outcome[g] >= 0) {
                                prior->rows[g]++;
                                prior->base[g] += row->outcome[g];
                        }
        }
        if (used < 100)
                return dog_err_set(e, -ENODATA, "only %.0f moments to learn from; at least 100 are needed",
                                   used);
        for (int i = 0; i < F; i++) {
                prior->mean[i] /= used;
                double var = square[i] / used - prior->mean[i] * prior->mean[i];
                scale[i] = sqrt(var > 1e-8 ? var : 1e-8);
        }
        for (int g = 0; g < DOG_RISK_TARGETS; g++) {
                struct risk_fit_task task = {.rows = rows, .traces = t, .options = o, .target = g};
                if (prior->rows[g] == 0)
                        return dog_err_set(e, -ENODATA,
                                           "no outcome is known at horizon %d; are the traces too short?", g);
                prior->base[g] /= (double)prior->rows[g];
                double base = prior->base[g] > 1e-4 ? prior->base[g] : 1e-4;
                prior->weight[g][DOG_RISK_F_ONE] = log(base / (1 - base));
                /* The ridge is on the scale of each feature, and hardly on the constant. */
                for (int i = 0; i < F; i++)
                        task.ridge[i] = 1e-6 + (i == DOG_RISK_F_ONE ? 0 : o->ridge * scale[i] * scale[i]);
                /* What hardly varies here would learn the level of this family instead of its own effect. */
                for (int i = 0; i < F; i++)
                        if (i != DOG_RISK_F_ONE && scale[i] < risk_fit_flat)
                                task.ridge[i] = 1e9;
                if (risk_fit_target(&task, prior->weight[g]) < 0)
                        return dog_err_set(e, -EDOM, "the features of horizon %d are degenerate", g);
        }
        return 0;
}

void risk_prior_use(const struct risk_prior *prior, struct dog_risk_model *m)
{
        for (int g = 0; g < DOG_RISK_TARGETS; g++)
                for (int i = 0; i < F; i++)
                        m->prior[g][i] = m->weight[g][i] = (float)prior->weight[g][i];
}
