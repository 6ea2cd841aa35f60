#include "models/brier.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * A model is worse when the difference is more than a hundredth of a percent an outcome (being
 * always right is persistence's to win, and no harm) and more than chance: two standard errors
 * over the blocks of the window, and two of what the model itself would expect. With d = (p-y)^2 - (q-y)^2
 * and y = 1 with chance p, the variance of d is 4 (p-q)^2 p (1-p).
 */
static const double brier_least = 0.0001;
static const double brier_errors = 2;
/* How much better than persistence, as a share of it, a disarmed model must be to come back. */
static const double brier_rearm_margin = 0.02;

void dog_brier_init(struct dog_brier *b)
{
        memset(b, 0, sizeof(*b));
}

static double brier_sum(const float *block)
{
        double sum = 0;
        for (int i = 0; i < DOG_BRIER_BLOCKS; i++)
                sum += (double)block[i];
        return sum;
}

/* Is the model worse than persistence over the window, beyond chance? */
static bool brier_is_worse(const struct dog_brier *b)
{
        double sum = 0;
        double squares = 0;
        for (int i = 0; i < DOG_BRIER_BLOCKS; i++) {
                double d = (double)b->model[i] - (double)b->persistence[i];
                sum += d;
                squares += d * d;
        }
        double variance =
                (squares - sum * sum / DOG_BRIER_BLOCKS) * DOG_BRIER_BLOCKS / (DOG_BRIER_BLOCKS - 1);
        variance = fmax(variance, brier_sum(b->chance));
        return sum > brier_least * b->in_window && sum > brier_errors * sqrt(fmax(variance, 0));
}

double dog_brier_model(const struct dog_brier *b)
{
        return b->in_window ? brier_sum(b->model) / b->in_window : (double)NAN;
}

double dog_brier_persistence(const struct dog_brier *b)
{
        return b->in_window ? brier_sum(b->persistence) / b->in_window : (double)NAN;
}

bool dog_brier_is_armed(const struct dog_brier *b)
{
        return !b->is_disarmed;
}

enum dog_brier_change dog_brier_learn(struct dog_brier *b, double p_model, double p_persistence,
                                      bool happened)
{
        double y = happened ? 1 : 0;
        if (!(p_model >= 0 && p_model <= 1) || !(p_persistence >= 0 && p_persistence <= 1))
                return DOG_BRIER_SAME; /* NaN or no chance at all: nothing was said */
        if (b->in_block == DOG_BRIER_BLOCK) {
                b->block = (uint8_t)((b->block + 1) % DOG_BRIER_BLOCKS);
                b->in_block = 0;
                if (b->in_window == DOG_BRIER_WINDOW)
                        b->in_window = (uint8_t)(b->in_window - DOG_BRIER_BLOCK);
                b->model[b->block] = 0;
                b->persistence[b->block] = 0;
                b->chance[b->block] = 0;
        }
        b->model[b->block] += (float)((p_model - y) * (p_model - y));
        b->persistence[b->block] += (float)((p_persistence - y) * (p_persistence - y));
        double apart = p_model - p_persistence;
        b->chance[b->block] += (float)(4 * apart * apart * p_model * (1 - p_model));
        b->in_block++;
        b->in_window++;
        b->count += b->count < UINT32_MAX;

        /* 1. Too little is known: stay as it is. */
        if (b->in_window < DOG_BRIER_WINDOW - DOG_BRIER_BLOCK)
                return DOG_BRIER_SAME;
        double model = brier_sum(b->model);
        double persistence = brier_sum(b->persistence);
        /* 2. Worse than saying "as it was": step back. */
        if (!b->is_disarmed && brier_is_worse(b)) {
                b->is_disarmed = true;
                return DOG_BRIER_DISARMED;
        }
        /* 3. Clearly better again: come back. */
        if (b->is_disarmed && model < persistence * (1 - brier_rearm_margin)) {
                b->is_disarmed = false;
                return DOG_BRIER_REARMED;
        }
        return DOG_BRIER_SAME;
}

void dog_reliability_init(struct dog_reliability *r)
{
        memset(r, 0, sizeof(*r));
}

void dog_reliability_learn(struct dog_reliability *r, double p, bool happened)
{
        if (!(p >= 0 && p <= 1))
                return;
        int bin = (int)(p * DOG_RELIABILITY_BINS);
        bin = bin < DOG_RELIABILITY_BINS ? bin : DOG_RELIABILITY_BINS - 1;
        r->said[bin] += p;
        r->happened[bin] += happened;
        r->count[bin]++;
}

const char *dog_reliability_text(const struct dog_reliability *r, int bin, char *to)
{
        if (bin < 0 || bin >= DOG_RELIABILITY_BINS || r->count[bin] == 0) {
                snprintf(to, 64, "no outcome yet");
                return to;
        }
        double n = r->count[bin];
        snprintf(to, 64, "says %.0f %%, happens %.0f %%, n = %u", 100 * r->said[bin] / n,
                 100 * r->happened[bin] / n, r->count[bin]);
        return to;
}

double dog_reliability_error(const struct dog_reliability *r)
{
        double sum = 0;
        double n = 0;
        for (int b = 0; b < DOG_RELIABILITY_BINS; b++) {
                sum += fabs(r->said[b] - r->happened[b]);
                n += r->count[b];
        }
        return n > 0 ? sum / n : (double)NAN;
}
