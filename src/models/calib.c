#include "models/calib.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Upper edges of the bins; the low ones are fine, because most moments are calm. */
static const float calib_edge[DOG_CALIB_BINS - 1] = {0.01F, 0.03F, 0.08F, 0.18F, 0.35F, 0.6F, 0.85F};

/* An outcome fades so that about this many count: a network of last month is another network. */
static const float calib_memory = 3000.0F;
/* Evidence that a bin needs to be believed as much as the overall record, and that needs itself. */
static const float calib_bin_doubt = 150.0F;
static const float calib_overall_doubt = 20.0F;
static const unsigned calib_patience = 8; /* outcomes before the correction is drawn anew */

void dog_calib_init(struct dog_calib *c)
{
        memset(c, 0, sizeof(*c));
}

static int calib_bin(float p)
{
        int bin = 0;
        while (bin < DOG_CALIB_BINS - 1 && p >= calib_edge[bin])
                bin++;
        return bin;
}

static float calib_clamp(double p)
{
        if (!(p > 1e-5))
                return 1e-5F;
        return p < 1 - 1e-5 ? (float)p : (float)(1 - 1e-5);
}

int dog_calib_pav(float *value, const float *weight, int count)
{
        float mean[64];
        float mass[64];
        int length[64];
        int blocks = 0;
        if (count < 0 || count > 64)
                return -EINVAL;
        for (int i = 0; i < count; i++) {
                mean[blocks] = value[i];
                mass[blocks] = weight[i];
                length[blocks++] = 1;
                /* A block lower than the one before it is pooled with it. */
                while (blocks > 1 && mean[blocks - 2] > mean[blocks - 1]) {
                        float sum = mass[blocks - 2] + mass[blocks - 1];
                        mean[blocks - 2] =
                                (mean[blocks - 2] * mass[blocks - 2] + mean[blocks - 1] * mass[blocks - 1]) /
                                sum;
                        mass[blocks - 2] = sum;
                        length[blocks - 2] += length[blocks - 1];
                        blocks--;
                }
        }
        for (int b = 0, i = 0; b < blocks; b++)
                for (int k = 0; k < length[b]; k++)
                        value[i++] = mean[b];
        return 0;
}

/* The overall record says "twice as often as was said" or "half as often": a shift of the odds. */
static float calib_overall(const struct dog_calib *c)
{
        float said = 0;
        float happened = 0;
        for (int b = 0; b < DOG_CALIB_BINS; b++) {
                said += c->said[b];
                happened += c->happened[b];
        }
        /* Events, not moments, are evidence: a thousand calm seconds say little about a storm. */
        return (happened + calib_overall_doubt) / (said + calib_overall_doubt);
}

static void calib_draw(struct dog_calib *c)
{
        float at[DOG_CALIB_BINS];
        float to[DOG_CALIB_BINS];
        float mass[DOG_CALIB_BINS];
        float ratio = calib_overall(c);
        for (int b = 0; b < DOG_CALIB_BINS; b++) {
                float low = b ? calib_edge[b - 1] : 0;
                float high = b < DOG_CALIB_BINS - 1 ? calib_edge[b] : 1;
                /* Where the bin's said chances lie; its middle while it is empty. */
                at[b] = (c->said[b] + 0.5F * (low + high)) / (c->count[b] + 1.0F);
                float odds = ratio * at[b] / (1.0F - at[b]);
                float expected = odds / (1.0F + odds);
                mass[b] = c->count[b] + calib_bin_doubt;
                to[b] = (c->happened[b] + calib_bin_doubt * expected) / mass[b];
        }
        dog_calib_pav(to, mass, DOG_CALIB_BINS);
        for (int b = 0; b < DOG_CALIB_BINS; b++) {
                c->at[b] = (uint16_t)(at[b] * 65535.0F + 0.5F);
                c->to[b] = (uint16_t)(to[b] * 65535.0F + 0.5F);
        }
        c->is_drawn = true;
        c->pending = 0;
}

void dog_calib_learn(struct dog_calib *c, double p, bool happened)
{
        int bin = calib_bin(calib_clamp(p));
        float keep = c->count[bin] >= calib_memory ? 1.0F - 1.0F / calib_memory : 1.0F;
        c->said[bin] = c->said[bin] * keep + calib_clamp(p);
        c->happened[bin] = c->happened[bin] * keep + (happened ? 1.0F : 0.0F);
        c->count[bin] = c->count[bin] * keep + 1.0F;
        c->pending++;
        if (!c->is_drawn ? happened : c->pending >= calib_patience)
                calib_draw(c);
}

double dog_calib_apply(const struct dog_calib *c, double p_said)
{
        float p = calib_clamp(p_said);
        if (!c->is_drawn)
                return (double)p;
        float want = p * 65535.0F;
        float at = 0;
        float to = 0;
        int b = 0;
        for (; b < DOG_CALIB_BINS && (float)c->at[b] < want; b++) {
                at = c->at[b];
                to = c->to[b];
        }
        float next_at = b < DOG_CALIB_BINS ? c->at[b] : 65535.0F;
        float next_to = b < DOG_CALIB_BINS ? c->to[b] : 65535.0F;
        float share = next_at > at ? (want - at) / (next_at - at) : 0;
        /* Pooled bins are flat; a hundredth of what was said keeps their order. */
        float meant = (to + share * (next_to - to)) * (1.0F / 65535.0F);
        return (double)calib_clamp((double)(0.99F * meant + 0.01F * p));
}
