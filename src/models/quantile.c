#include "models/quantile.h"

#include <math.h>
#include <string.h>

/* ---- one quantile of everything so far ------------------------------------------------------- */

void dog_quantile_init(struct dog_quantile *q, double share)
{
        memset(q, 0, sizeof(*q));
        q->share = (float)(share > 0 ? (share < 1 ? share : 1) : 0);
}

static void quantile_first_five(struct dog_quantile *q, float value)
{
        int at = (int)q->count;
        while (at > 0 && q->height[at - 1] > value) {
                q->height[at] = q->height[at - 1];
                at--;
        }
        q->height[at] = value;
        q->count++;
        if (q->count == 5)
                for (int i = 0; i < 5; i++)
                        q->position[i] = (float)i;
}

/* Move marker i by one place towards where it should be; heights follow a parabola through neighbours. */
static void quantile_adjust(struct dog_quantile *q, int i, float wanted)
{
        const float *n = q->position;
        const float *h = q->height;
        float d = wanted - n[i];
        if (!((d >= 1 && n[i + 1] - n[i] > 1) || (d <= -1 && n[i - 1] - n[i] < -1)))
                return;
        int to = d > 0 ? 1 : -1;
        float step = (float)to;
        float up = (n[i] - n[i - 1] + step) * (h[i + 1] - h[i]) / (n[i + 1] - n[i]);
        float down = (n[i + 1] - n[i] - step) * (h[i] - h[i - 1]) / (n[i] - n[i - 1]);
        float height = h[i] + step / (n[i + 1] - n[i - 1]) * (up + down);
        if (!(h[i - 1] < height && height < h[i + 1]))
                height = h[i] + step * (h[i + to] - h[i]) / (n[i + to] - n[i]);
        q->height[i] = height;
        q->position[i] += step;
}

void dog_quantile_learn(struct dog_quantile *q, double value_given)
{
        float value = (float)value_given;
        if (!isfinite(value))
                return;
        if (q->count < 5) {
                quantile_first_five(q, value);
                return;
        }
        q->count += q->count < (1U << 24); /* beyond, single precision would not count on */
        if (q->position[4] >= 0x1p23F)
                for (int i = 0; i < 5; i++)
                        q->position[i] = floorf(q->position[i] * 0.5F) + (float)i;
        int cell = 0;
        if (value < q->height[0])
                q->height[0] = value;
        else if (value >= q->height[4]) {
                q->height[4] = value;
                cell = 3;
        } else
                while (cell < 3 && value >= q->height[cell + 1])
                        cell++;
        for (int i = cell + 1; i < 5; i++)
                q->position[i] += 1;
        float last = q->position[4];
        quantile_adjust(q, 1, last * q->share * 0.5F);
        quantile_adjust(q, 2, last * q->share);
        quantile_adjust(q, 3, last * (1 + q->share) * 0.5F);
}

double dog_quantile_get(const struct dog_quantile *q)
{
        if (q->count == 0)
                return (double)NAN;
        if (q->count >= 5)
                return (double)q->height[2];
        return (double)q->height[(int)((float)(q->count - 1) * q->share + 0.5F)];
}

/* ---- median of a window -------------------------------------------------------------------- */

/* 16-bit logarithms: 0 is "nothing", 1 .. 65535 cover 1e-3 .. 1e6 evenly. */
static const float window_least = 1e-3F;
#define WINDOW_SPAN 20.7232658F /* ln(1e9) */

static uint16_t window_code(float value)
{
        float at = logf(value / window_least) * (65534.0F / WINDOW_SPAN) + 1.0F;
        if (!(at > 1.0F))
                return 1;
        return at < 65535.0F ? (uint16_t)(at + 0.5F) : 65535;
}

static double window_value(double code)
{
        return (double)window_least * exp((code - 1) * ((double)WINDOW_SPAN / 65534.0));
}

void dog_window_init(struct dog_window *w, int64_t window_ns)
{
        memset(w, 0, sizeof(*w));
        w->slot_ns = window_ns / DOG_WINDOW_SLOTS > 1000 ? window_ns / DOG_WINDOW_SLOTS : 1000;
        w->slot = INT64_MIN;
}

static int64_t window_slot_of(const struct dog_window *w, int64_t t_ns)
{
        int64_t slot = t_ns / w->slot_ns;
        return slot * w->slot_ns > t_ns ? slot - 1 : slot;
}

static unsigned window_place(int64_t slot)
{
        int64_t place = slot % DOG_WINDOW_SLOTS;
        return (unsigned)(place < 0 ? place + DOG_WINDOW_SLOTS : place);
}

static void window_remove(uint16_t *sorted, uint8_t *count, uint16_t code)
{
        unsigned at = 0;
        while (at < *count && sorted[at] < code)
                at++;
        if (at == *count)
                return;
        (*count)--;
        memmove(sorted + at, sorted + at + 1, (*count - at) * sizeof(sorted[0]));
}

static void window_insert(uint16_t *sorted, uint8_t *count, unsigned most, uint16_t code)
{
        unsigned at = *count;
        if (at >= most)
                return;
        for (; at > 0 && sorted[at - 1] > code; at--)
                sorted[at] = sorted[at - 1];
        sorted[at] = code;
        (*count)++;
}

/* The slot being filled is full of time: its median takes the place of the slot 60 before it. */
static void window_close_slot(struct dog_window *w)
{
        unsigned at = window_place(w->slot);
        if (w->ring[at])
                window_remove(w->sorted, &w->sorted_count, w->ring[at]);
        w->ring[at] = 0;
        if (w->fresh_count == 0)
                return;
        unsigned n = w->fresh_count;
        w->ring[at] = (uint16_t)(((unsigned)w->fresh[(n - 1) / 2] + (unsigned)w->fresh[n / 2]) / 2);
        window_insert(w->sorted, &w->sorted_count, DOG_WINDOW_SLOTS, w->ring[at]);
        w->fresh_count = 0;
}

void dog_window_learn(struct dog_window *w, double value_given, int64_t t_ns)
{
        float value = (float)value_given;
        if (!isfinite(value) || !(value > 0))
                return;
        int64_t slot = window_slot_of(w, t_ns);
        if (w->slot == INT64_MIN)
                w->slot = slot;
        if (slot < w->slot)
                return;
        if (slot > w->slot && slot - w->slot > DOG_WINDOW_SLOTS) {
                /* Longer than the window: nothing of it is left. */
                int64_t slot_ns = w->slot_ns;
                memset(w, 0, sizeof(*w));
                w->slot_ns = slot_ns;
                w->slot = slot;
        }
        for (; w->slot < slot; w->slot++)
                window_close_slot(w);
        window_insert(w->fresh, &w->fresh_count, DOG_WINDOW_SLOT_VALUES, window_code(value));
        w->count = (uint16_t)(w->count + (w->count < UINT16_MAX));
}

double dog_window_median(const struct dog_window *w, int64_t now_ns, int least)
{
        uint16_t all[DOG_WINDOW_SLOTS + 1];
        uint8_t count = w->sorted_count;
        if (w->slot == INT64_MIN || w->count < least || w->count == 0)
                return (double)NAN;
        int64_t slot = window_slot_of(w, now_ns);
        if (slot - w->slot > DOG_WINDOW_SLOTS)
                return (double)NAN;
        memcpy(all, w->sorted, count * sizeof(all[0]));
        /* Silence since the last value: what has left the window meanwhile does not count. */
        for (int64_t s = w->slot - DOG_WINDOW_SLOTS; s < slot - DOG_WINDOW_SLOTS; s++) {
                uint16_t code = w->ring[window_place(s)];
                if (code)
                        window_remove(all, &count, code);
        }
        if (w->fresh_count) {
                unsigned n = w->fresh_count;
                window_insert(all, &count, DOG_WINDOW_SLOTS + 1,
                              (uint16_t)(((unsigned)w->fresh[(n - 1) / 2] + (unsigned)w->fresh[n / 2]) / 2));
        }
        if (count == 0)
                return (double)NAN;
        uint16_t low = all[(count - 1) / 2];
        uint16_t high = all[count / 2];
        return low == high ? window_value(low) : 0.5 * (window_value(low) + window_value(high));
}
