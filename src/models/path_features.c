#include "models/path_features.h"

#include "models/fastmath.h"

#include <string.h>

typedef float path_four __attribute__((vector_size(16)));
typedef int32_t path_mask __attribute__((vector_size(16)));

enum { PATH_LEVEL = 6000 };

static const float path_margin_most = 2.5F;
static const float path_since_most_s = 900.0F;
static const float path_bin_low = -2.4F;
static const float path_bin_width = 0.05F;
static const float path_bin_odds = 2.04272707F; /* exp(path_bin_width / 0.07) */
/* Lives of the histograms of falls; the last is of the jumps of a second. */
static const float path_life_s[DOG_PATH_LIVES + 1] = {240.0F, 900.0F, 60.0F};
static const float path_unit_most = 1e9F;
static const float path_window_s[DOG_PATH_WINDOWS] = {
#define X(s) s,
        DOG_PATH_WINDOW_LIST(X)
#undef X
};

static float path_clamp(float x, float most)
{
        if (!(x > -most))
                return -most;
        return x < most ? x : most;
}

static float path_seconds(int64_t later_ns, int64_t earlier_ns)
{
        return (float)((double)((uint64_t)later_ns - (uint64_t)earlier_ns) * 1e-9);
}

/* ---- taking samples ------------------------------------------------------------------------ */

void dog_path_track_init(struct dog_path_track *t)
{
        memset(t, 0, sizeof(*t));
        t->first_ns = t->last_ns = t->bad_ns = t->run_ns = t->calm_ns = INT64_MIN;
        t->rtt_slot = INT64_MIN;
        t->rtt_log = t->rtt_mean = NAN;
        for (int i = 0; i < 7; i++)
                t->rtt_least[i] = NAN;
        for (int i = 0; i < 2 * DOG_PATH_COMB; i++)
                t->rtt_ring[i] = NAN;
        for (int i = 0; i < DOG_PATH_EXTRAS; i++)
                t->extra[i] = t->extra_mean[i] = NAN;
        for (int i = 0; i <= DOG_PATH_LIVES; i++)
                t->unit[i] = 1.0F;
}

static int path_slot(uint32_t number)
{
        return (int)(number % DOG_PATH_RING);
}

static int path_level_at(const struct dog_path_track *t, uint32_t number)
{
        return t->level[path_slot(number)];
}

static bool path_bad_at(const struct dog_path_track *t, uint32_t number)
{
        int slot = path_slot(number);
        return t->bad_bits[slot / 64] >> (slot % 64) & 1;
}

static uint16_t *path_levels_of(struct dog_path_track *t, int window, int level)
{
        int bin = (level + 15000) * DOG_PATH_LEVELS / 30001;
        if (window == DOG_PATH_W30)
                return &t->levels_30[bin];
        return window == DOG_PATH_W60 ? &t->levels_60[bin] : NULL;
}

/* The change that sample `number` brought; the first of all brought none. */
static int path_change_at(const struct dog_path_track *t, uint32_t number)
{
        return number ? path_level_at(t, number) - path_level_at(t, number - 1) : 0;
}

/* Sample number `t->count - 1` is in the ring: let each window take it and let go what has grown old. */
static void path_windows_turn(struct dog_path_track *t)
{
        uint32_t newest = t->count - 1;
        uint32_t now_ms = t->at_ms[path_slot(newest)];
        int level = path_level_at(t, newest);
        int64_t move = path_change_at(t, newest);
        for (int w = 0; w < DOG_PATH_WINDOWS; w++) {
                struct dog_path_stretch *s = &t->window[w];
                uint32_t span_ms = (uint32_t)(path_window_s[w] * 1000.0F);
                s->sum += level;
                s->square += (int64_t)level * level;
                s->moves += move * move;
                s->bad += t->is_bad;
                uint16_t *bin = path_levels_of(t, w, level);
                if (bin)
                        (*bin)++;
                /* A ring's worth at most, one more than that before the oldest is written over. */
                while (s->from < newest && (now_ms - t->at_ms[path_slot(s->from)] >= span_ms ||
                                            newest - s->from >= DOG_PATH_RING - 2)) {
                        int64_t old = path_level_at(t, s->from);
                        int64_t old_move = path_change_at(t, s->from);
                        s->sum -= (int32_t)old;
                        s->square -= old * old;
                        s->moves -= old_move * old_move;
                        s->bad -= path_bad_at(t, s->from);
                        bin = path_levels_of(t, w, (int)old);
                        if (bin)
                                (*bin)--;
                        s->from++;
                }
        }
}

static void path_falls_add(struct dog_path_falls *h, float unit, float fall)
{
        /* Between two bins the weight is split, so that a bin's width does not show. */
        float at = (fall - path_bin_low) * (1.0F / path_bin_width) - 0.5F;
        at = at > 0 ? (at < DOG_PATH_BINS - 1.001F ? at : DOG_PATH_BINS - 1.001F) : 0;
        int bin = (int)at;
        float share = at - (float)bin;
        h->bin[bin] += unit * (1.0F - share);
        h->bin[bin + 1] += unit * share;
        h->total += unit;
}

static void path_falls_shrink(struct dog_path_falls *h, float by)
{
        for (int i = 0; i < DOG_PATH_BINS; i++)
                h->bin[i] *= by;
        h->total *= by;
}

static void path_units_grow(struct dog_path_track *t, float dt_s)
{
        for (int l = 0; l <= DOG_PATH_LIVES; l++) {
                float gone = dt_s / path_life_s[l];
                t->unit[l] *= dog_fast_exp(gone < 20.0F ? gone : 20.0F);
                if (t->unit[l] < path_unit_most)
                        continue;
                float by = 1.0F / t->unit[l];
                for (int r = 0; l < DOG_PATH_LIVES && r < DOG_PATH_REACHES; r++)
                        path_falls_shrink(&t->falls[r][l], by);
                if (l != 1)
                        path_falls_shrink(&t->jumps[l ? 0 : 1], by);
                t->unit[l] = 1.0F;
        }
}

/* Oldest first; the last one is the newest sample. */
static const int16_t *path_stretch(const struct dog_path_track *t, uint32_t length)
{
        return t->level + path_slot(t->count - 1) + DOG_PATH_RING - (length - 1);
}

static uint32_t path_length(const struct dog_path_track *t, int window)
{
        return t->count - t->window[window].from;
}

static int path_least_of(const int16_t *level, uint32_t count, int least)
{
        int16_t low = (int16_t)least;
        for (uint32_t i = 0; i < count; i++)
                low = level[i] < low ? level[i] : low;
        return low;
}

static void path_take_falls(struct dog_path_track *t)
{
        static const uint8_t window[DOG_PATH_REACHES] = {DOG_PATH_W1, DOG_PATH_W1, DOG_PATH_W2, DOG_PATH_W5,
                                                         DOG_PATH_W15};
        const float scale = 1.0F / (float)PATH_LEVEL;
        uint32_t newest = t->count - 1;
        uint32_t now_ms = t->at_ms[path_slot(newest)];
        float slack_s = 1.5F * t->step_s;
        int least = INT16_MAX;
        uint32_t known = 0; /* samples, newest first, that `least` is of */
        for (int r = DOG_PATH_R_NEXT; r < DOG_PATH_REACHES; r++) {
                uint32_t from = r == DOG_PATH_R_NEXT ? newest : t->window[window[r]].from;
                float span_s = r == DOG_PATH_R_NEXT ? t->step_s : path_window_s[window[r]];
                if (from == 0 || (r == DOG_PATH_R_NEXT && t->step_s > 0.75F))
                        continue;
                uint32_t length = t->count - from;
                least = path_least_of(path_stretch(t, length), length - known, least);
                known = length;
                if ((float)(now_ms - t->at_ms[path_slot(from - 1)]) * 1e-3F > span_s + slack_s)
                        continue;
                int before = path_level_at(t, from - 1);
                float fall = (float)(least - before) * scale;
                for (int l = 0; l < DOG_PATH_LIVES; l++)
                        path_falls_add(&t->falls[r][l], t->unit[l], fall);
                if (r == DOG_PATH_R_1S) {
                        float jump = (float)(path_level_at(t, newest) - before) * scale;
                        path_falls_add(&t->jumps[0], t->unit[DOG_PATH_LIVES], jump);
                        path_falls_add(&t->jumps[1], t->unit[0], jump);
                }
        }
}

static void path_take_bad(struct dog_path_track *t, bool is_bad, int64_t t_ns, float dt_s,
                          const float decay[DOG_PATH_SCALES])
{
        float value = is_bad ? 1.0F : 0.0F;
        for (int k = 0; k < DOG_PATH_SCALES; k++)
                t->bad[k] += (1.0F - decay[k]) * (value - t->bad[k]);
        t->runs *= decay[6];
        if (is_bad) {
                if (!t->is_bad || t->run_ns == INT64_MIN) {
                        if (t->bad_ns != INT64_MIN)
                                t->gap_s = path_seconds(t_ns, t->bad_ns);
                        t->run_ns = t_ns;
                        t->runs += 1.0F;
                        t->run_s = 0;
                }
                float step_s = dt_s < 1.0F ? dt_s : 1.0F;
                t->run_s += step_s;
                t->bad_s += step_s;
                t->bad_ns = t_ns;
        } else if (t->is_bad) {
                t->last_run_s = t->run_s;
                t->longest_run_s = t->run_s > t->longest_run_s ? t->run_s : t->longest_run_s;
                t->run_s = 0;
        }
        t->is_bad = is_bad;
}

static void path_take_margin(struct dog_path_track *t, float x, float before,
                             const float decay[DOG_PATH_SCALES])
{
        float first = 1.0F / (float)t->count;
        float old_mean = t->count > 1 ? t->margin[5] : x;
        for (int k = 0; k < DOG_PATH_SCALES; k++) {
                float gain = 1.0F - decay[k];
                t->margin[k] += (gain > first ? gain : first) * (x - t->margin[k]);
        }
        float slow = 1.0F - decay[5] > first ? 1.0F - decay[5] : first;
        float d = x - old_mean;
        float d_before = before - old_mean;
        float a = t->var > 1e-6F ? path_clamp(t->cov / t->var, 1.0F) : 0;
        float residual = d - a * d_before;
        t->var += slow * (d_before * d_before - t->var);
        t->cov += slow * (d * d_before - t->cov);
        t->var_residual += slow * (residual * residual - t->var_residual);
}

/* How unlike itself is the path, so many samples later? */
static void path_take_comb(struct dog_path_track *t, float rtt_log, float dt_s)
{
        float gain = 1.0F - dog_fast_exp(-dt_s * (1.0F / 3.0F));
        uint32_t at = ++t->rtt_at % DOG_PATH_COMB;
        t->rtt_ring[at] = t->rtt_ring[at + DOG_PATH_COMB] = rtt_log;
        if (rtt_log != rtt_log)
                return;
        const float *now = &t->rtt_ring[at + DOG_PATH_COMB];
        for (int l = 0; l < DOG_PATH_LAGS; l++) {
                float then = now[-1 - l];
                float use = then == then ? gain : 0;
                float apart = then == then ? fabsf(rtt_log - then) : 0;
                t->comb[l] += use * (apart - t->comb[l]);
                t->comb_weight[l] += use * (1.0F - t->comb_weight[l]);
        }
}

static void path_take_rtt(struct dog_path_track *t, float rtt_ms, int64_t t_ns, float dt_s, float decay_4,
                          float decay_5)
{
        bool has = rtt_ms >= 0 && rtt_ms < INFINITY;
        float value = has ? dog_fast_log(rtt_ms + 0.01F) : NAN;
        int64_t slot = t_ns / INT64_C(5000000000);
        t->has_rtt = has ? 1.0F : t->has_rtt * (1.0F - path_clamp(0.1F * dt_s, 1.0F));
        /* A path that has never told a round-trip time is not asked again at each step. */
        if (!has && t->rtt_slot == INT64_MIN)
                return;
        path_take_comb(t, value, dt_s);
        if (slot != t->rtt_slot) {
                int64_t gone = t->rtt_slot == INT64_MIN || slot - t->rtt_slot > 7 ? 7 : slot - t->rtt_slot;
                for (int64_t k = 0; k < gone; k++) {
                        memmove(&t->rtt_least[1], &t->rtt_least[0], 6 * sizeof(t->rtt_least[0]));
                        t->rtt_least[0] = NAN;
                }
                t->rtt_slot = slot;
        }
        if (!has)
                return;
        t->rtt_log = value;
        if (!(t->rtt_least[0] <= value))
                t->rtt_least[0] = value;
        if (t->rtt_mean != t->rtt_mean)
                t->rtt_mean = value;
        float first = 1.0F / (float)t->count;
        float d = value - t->rtt_mean;
        t->rtt_mean += (1.0F - decay_5 > first ? 1.0F - decay_5 : first) * d;
        t->rtt_var += (1.0F - decay_4 > first ? 1.0F - decay_4 : first) * (d * d - t->rtt_var);
}

static void path_take_loss(struct dog_path_track *t, float loss, float dt_s,
                           const float decay[DOG_PATH_SCALES])
{
        bool has = loss >= 0 && loss <= 1;
        t->has_loss = has ? 1.0F : t->has_loss * (1.0F - path_clamp(0.1F * dt_s, 1.0F));
        if (!has)
                return;
        t->loss_1s += (1.0F - decay[0]) * (loss - t->loss_1s);
        t->loss_4s += (1.0F - decay[2]) * (loss - t->loss_4s);
        t->loss_32s += (1.0F - decay[5]) * (loss - t->loss_32s);
}

static void path_take_extra(struct dog_path_track *t, const float *extra, float decay_8s)
{
        for (int i = 0; i < DOG_PATH_EXTRAS; i++) {
                t->extra[i] = extra && extra[i] - extra[i] == 0 ? extra[i] : NAN;
                if (t->extra[i] != t->extra[i])
                        continue;
                if (t->extra_mean[i] != t->extra_mean[i])
                        t->extra_mean[i] = t->extra[i];
                t->extra_mean[i] += (1.0F - decay_8s) * (t->extra[i] - t->extra_mean[i]);
        }
}

static float path_next_z(const struct dog_path_track *t, float x)
{
        float a = t->var > 1e-6F ? path_clamp(t->cov / t->var, 1.0F) : 0;
        float mean = t->margin[5];
        return (mean + a * (x - mean)) / (sqrtf(t->var_residual) + 0.02F);
}

static float path_since(const struct dog_path_track *t, int64_t since_ns)
{
        float s = since_ns == INT64_MIN ? path_since_most_s : path_seconds(t->last_ns, since_ns);
        return dog_fast_log(1.0F + (s < path_since_most_s ? s : path_since_most_s));
}

static float path_bad_ever(const struct dog_path_track *t)
{
        float age_s = path_seconds(t->last_ns, t->first_ns);
        return (t->bad_s + 1.0F) / (age_s + 20.0F);
}

/* Least squares over the newest `length` samples: change of margin per second. */
static float path_slope(const struct dog_path_track *t, uint32_t length)
{
        if (length < 3 || !(t->step_s > 0))
                return NAN;
        const int16_t *level = path_stretch(t, length);
        int64_t turning = 0;
        int32_t centre = (int32_t)length - 1;
        for (int32_t i = 0; i < (int32_t)length; i++)
                turning += level[i] * (2 * i - centre);
        float n = (float)length;
        return 6.0F * (float)turning / (n * (n * n - 1.0F) * t->step_s * (float)PATH_LEVEL);
}

static void path_face_draw(struct dog_path_track *t, float x, float change)
{
        const float scale = 1.0F / (float)PATH_LEVEL;
        uint32_t five = path_length(t, DOG_PATH_W5);
        uint32_t thirty = path_length(t, DOG_PATH_W30);
        int least_5 = path_least_of(path_stretch(t, five), five, INT16_MAX);
        int least_30 = path_least_of(path_stretch(t, thirty), thirty - five, least_5);
        float *item = t->face.item;
        item[DOG_PATH_FACE_BAD_1S] = t->bad[0];
        item[DOG_PATH_FACE_BAD_8S] = t->bad[3];
        item[DOG_PATH_FACE_MARGIN] = x;
        item[DOG_PATH_FACE_MARGIN_4S] = t->margin[2];
        item[DOG_PATH_FACE_LEAST_5] = (float)least_5 * scale;
        item[DOG_PATH_FACE_LEAST_30] = (float)least_30 * scale;
        item[DOG_PATH_FACE_NEXT_Z] = path_next_z(t, x);
        item[DOG_PATH_FACE_SINCE] = path_since(t, t->bad_ns);
        item[DOG_PATH_FACE_BAD_EVER] = path_bad_ever(t);
        item[DOG_PATH_FACE_CHANGE] = change;
        float slope = path_slope(t, five);
        item[DOG_PATH_FACE_SLOPE_5] = slope == slope ? slope : 0;
}

bool dog_path_track_observe(struct dog_path_track *t, const struct dog_path_sample *s)
{
        bool is_first = t->count == 0;
        if (!is_first && s->t_ns <= t->last_ns) {
                t->dropped += t->dropped < UINT32_MAX;
                return false;
        }
        float dt_s = is_first ? 0 : path_seconds(s->t_ns, t->last_ns);
        float decay[DOG_PATH_SCALES];
        if (is_first)
                t->first_ns = s->t_ns;
        else if (t->count == 1)
                t->step_s = dt_s;
        else
                t->step_s += 0.05F * ((dt_s < 2.0F * t->step_s ? dt_s : 2.0F * t->step_s) - t->step_s);
        decay[DOG_PATH_SCALES - 1] = dog_fast_exp2(-dt_s / 128.0F);
        for (int k = DOG_PATH_SCALES - 2; k >= 0; k--)
                decay[k] = decay[k + 1] * decay[k + 1];
        const float scale = 1.0F / (float)PATH_LEVEL;
        float before = is_first ? 0 : (float)path_level_at(t, t->count - 1) * scale;
        t->is_measured = s->margin == s->margin;
        /* What was not measured is as it was; a first sample without a margin is an ordinary one. */
        float x = t->is_measured ? path_clamp(s->margin, path_margin_most) : (is_first ? 0.5F : before);
        int level = (int)(x * (float)PATH_LEVEL + (x < 0 ? -0.5F : 0.5F));
        x = (float)level * scale;
        before = is_first ? x : before;
        int slot = path_slot(t->count);
        t->level[slot] = t->level[slot + DOG_PATH_RING] = (int16_t)level;
        t->at_ms[slot] = (uint32_t)(((uint64_t)s->t_ns - (uint64_t)t->first_ns) / 1000000);
        t->bad_bits[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
        t->bad_bits[slot / 64] |= (uint64_t)s->is_bad << (slot % 64);
        t->count += t->count < UINT32_MAX;
        path_take_bad(t, s->is_bad, s->t_ns, dt_s, decay);
        path_windows_turn(t);
        path_units_grow(t, dt_s);
        path_take_falls(t);
        path_take_margin(t, x, before, decay);
        path_take_rtt(t, s->rtt_ms, s->t_ns, dt_s, decay[4], decay[5]);
        path_take_loss(t, s->loss, dt_s, decay);
        bool has_rate = s->rate_kbps >= 0;
        t->has_rate = has_rate ? 1.0F : t->has_rate * (1.0F - path_clamp(0.1F * dt_s, 1.0F));
        path_take_extra(t, s->extra, decay[3]);
        t->last_ns = s->t_ns;
        path_face_draw(t, x, x - before);
        return true;
}

/* ---- features ------------------------------------------------------------------------------ */

static float path_lag(const struct dog_path_track *t, uint32_t samples)
{
        if (samples >= t->count || samples >= DOG_PATH_RING)
                return NAN;
        return (float)path_level_at(t, t->count - 1 - samples) * (1.0F / (float)PATH_LEVEL);
}

static void path_bad_features(const struct dog_path_track *t, float *f)
{
        static const struct {
                uint8_t feature, window;
        } share[] = {{DOG_PATH_F_SHARE_1, DOG_PATH_W1},   {DOG_PATH_F_SHARE_2, DOG_PATH_W2},
                     {DOG_PATH_F_SHARE_5, DOG_PATH_W5},   {DOG_PATH_F_SHARE_10, DOG_PATH_W10},
                     {DOG_PATH_F_SHARE_30, DOG_PATH_W30}, {DOG_PATH_F_SHARE_60, DOG_PATH_W60}};
        f[DOG_PATH_F_BAD_NOW] = t->is_bad ? 1 : 0;
        for (int k = 0; k < 8; k++)
                f[DOG_PATH_F_BAD_1S + k] = t->bad[k];
        for (size_t i = 0; i < sizeof(share) / sizeof(share[0]); i++)
                f[share[i].feature] =
                        (float)t->window[share[i].window].bad / (float)path_length(t, share[i].window);
        f[DOG_PATH_F_BAD_EVER] = path_bad_ever(t);
        f[DOG_PATH_F_SINCE] = path_since(t, t->bad_ns);
        f[DOG_PATH_F_SINCE_RUN] = path_since(t, t->run_ns);
        f[DOG_PATH_F_RUN] = t->run_s;
        f[DOG_PATH_F_LAST_RUN] = t->last_run_s;
        f[DOG_PATH_F_LONGEST_RUN] = t->longest_run_s;
        f[DOG_PATH_F_GAP] = t->gap_s;
        f[DOG_PATH_F_RUNS] = t->runs;
        f[DOG_PATH_F_AGE] = dog_fast_log(1.0F + path_seconds(t->last_ns, t->first_ns));
}

static void path_rank(const int16_t *level, uint32_t count, int now, uint32_t *below)
{
        int16_t mine = (int16_t)now;
        uint16_t sum = 0;
        for (uint32_t i = 0; i < count; i++)
                sum = (uint16_t)(sum + (level[i] < mine));
        *below += sum;
}

static void path_most_of(const int16_t *level, uint32_t count, int16_t *most)
{
        int16_t high = *most;
        for (uint32_t i = 0; i < count; i++)
                high = level[i] > high ? level[i] : high;
        *most = high;
}

/* The deepest change among `count` samples; level[-1] is there. */
static void path_drop_of(const int16_t *level, uint32_t count, int16_t *least)
{
        int16_t low = *least;
        for (uint32_t i = 0; i < count; i++) {
                int16_t change = (int16_t)(level[i] - level[(int)i - 1]);
                low = change < low ? change : low;
        }
        *least = low;
}

/* One walk from the newest sample to those of a minute ago; each window goes on where the last one ended. */
static void path_window_features(const struct dog_path_track *t, float *f)
{
        const float scale = 1.0F / (float)PATH_LEVEL;
        int now = path_level_at(t, t->count - 1);
        int least = INT16_MAX;
        int16_t most = INT16_MIN;
        int16_t drop = 0;
        uint32_t below = 0;
        uint32_t done = 0;
        for (int w = 0; w < DOG_PATH_WINDOWS; w++) {
                uint32_t length = path_length(t, w);
                const int16_t *level = path_stretch(t, length);
                least = path_least_of(level, length - done, least);
                path_most_of(level, length - done, &most);
                path_rank(level, length - done, now, &below);
                uint32_t first = length == t->count ? 1 : 0; /* the very first sample has no change */
                if (length - done > first)
                        path_drop_of(level + first, length - done - first, &drop);
                done = length;
                float n = (float)length;
                f[DOG_PATH_F_MEAN_1 + 3 * w] = (float)t->window[w].sum * scale / n;
                f[DOG_PATH_F_LEAST_1 + 3 * w] = (float)least * scale;
                f[DOG_PATH_F_MOST_1 + 3 * w] = (float)most * scale;
                if (w == DOG_PATH_W10)
                        f[DOG_PATH_F_RANK_10] = (float)below / n;
                else if (w == DOG_PATH_W30)
                        f[DOG_PATH_F_RANK_30] = (float)below / n;
                else if (w == DOG_PATH_W60)
                        f[DOG_PATH_F_RANK_60] = (float)below / n;
                if (w == DOG_PATH_W5)
                        f[DOG_PATH_F_DROP_5] = (float)drop * scale;
                else if (w == DOG_PATH_W15)
                        f[DOG_PATH_F_DROP_15] = (float)drop * scale;
                else if (w == DOG_PATH_W60)
                        f[DOG_PATH_F_DROP_60] = (float)drop * scale;
        }
}

static void path_spread_features(const struct dog_path_track *t, float *f)
{
        static const uint8_t spread[] = {DOG_PATH_W3,  DOG_PATH_W5,  DOG_PATH_W10,
                                         DOG_PATH_W20, DOG_PATH_W30, DOG_PATH_W60};
        static const uint8_t moves[] = {DOG_PATH_W5, DOG_PATH_W15, DOG_PATH_W60};
        static const uint8_t slope[] = {DOG_PATH_W3, DOG_PATH_W5, DOG_PATH_W10, DOG_PATH_W20};
        const float scale = 1.0F / (float)PATH_LEVEL;
        for (size_t i = 0; i < sizeof(spread); i++) {
                const struct dog_path_stretch *s = &t->window[spread[i]];
                float n = (float)path_length(t, spread[i]);
                float mean = (float)s->sum / n;
                float var = (float)s->square / n - mean * mean;
                f[DOG_PATH_F_SPREAD_3 + (int)i] = sqrtf(var > 0 ? var : 0) * scale;
        }
        for (size_t i = 0; i < sizeof(moves); i++)
                f[DOG_PATH_F_MOVES_5 + (int)i] =
                        sqrtf((float)t->window[moves[i]].moves / (float)path_length(t, moves[i])) * scale;
        for (size_t i = 0; i < sizeof(slope); i++)
                f[DOG_PATH_F_SLOPE_3 + (int)i] = path_slope(t, path_length(t, slope[i]));
}

/* The level within bin i, by straight line, below which `want` samples of the window lie. */
static float path_quantile_within(const uint16_t *levels, int i, uint32_t below, float want)
{
        const float width = 5.0F / DOG_PATH_LEVELS;
        return -2.5F + width * ((float)i + (want - (float)below) / (float)levels[i]);
}

/* The levels below which a tenth and a half of a window's n samples lie. */
static void path_quantiles(const uint16_t levels[DOG_PATH_LEVELS], float n, float *tenth, float *median)
{
        const float want[2] = {0.1F * n, 0.5F * n};
        float *const to[2] = {tenth, median};
        uint32_t below = 0;
        int i = 0;
        for (int k = 0; k < 2; k++) {
                /* A count is at least `want` when it is at least the next whole number. */
                uint32_t need = (uint32_t)ceilf(want[k]);
                for (; i < DOG_PATH_LEVELS - 1 && below + levels[i] < need; i++)
                        below += levels[i];
                *to[k] = path_quantile_within(levels, i, below, want[k]);
        }
}

static void path_margin_features(const struct dog_path_track *t, float *f)
{
        float x = path_lag(t, 0);
        float n_30 = (float)path_length(t, DOG_PATH_W30);
        float n_60 = (float)path_length(t, DOG_PATH_W60);
        for (uint32_t k = 0; k <= 5; k++)
                f[DOG_PATH_F_MARGIN + (int)k] = path_lag(t, k);
        path_quantiles(t->levels_30, n_30, &f[DOG_PATH_F_TENTH_30], &f[DOG_PATH_F_MEDIAN_30]);
        path_quantiles(t->levels_60, n_60, &f[DOG_PATH_F_TENTH_60], &f[DOG_PATH_F_MEDIAN_60]);
        for (int k = 0; k < 7; k++)
                f[DOG_PATH_F_MARGIN_1S + k] = t->margin[k];
        f[DOG_PATH_F_FALLING_1_4] = t->margin[0] - t->margin[2];
        f[DOG_PATH_F_FALLING_2_16] = t->margin[1] - t->margin[4];
        f[DOG_PATH_F_FALLING_8_64] = t->margin[3] - t->margin[6];
        f[DOG_PATH_F_CHANGE] = t->face.item[DOG_PATH_FACE_CHANGE];
        f[DOG_PATH_F_NEXT_Z] = path_next_z(t, x);
        f[DOG_PATH_F_MOVE_Z] = x / (f[DOG_PATH_F_MOVES_15] + 0.02F);
}

/* What one past moment in each bin would mean from here. Shared by all histograms of a path. */
struct path_kernel {
        path_four soft[DOG_PATH_BINS / 4]; /**< a breach, softened: sigmoid(-(x + D) / 0.07) */
        path_four deep[DOG_PATH_BINS / 4]; /**< x + D < -0.3 */
        path_four near[DOG_PATH_BINS / 4]; /**< x + D < 0.15 */
};

/* 0.5 - y in bins, within 0..1: a step that is as wide as a bin. */
static path_four path_ramp(path_four y)
{
        const path_four zero = {0, 0, 0, 0};
        const path_four one = zero + 1.0F;
        path_four share = 0.5F - y * (1.0F / path_bin_width);
        share = (path_four)((path_mask)share & (share > zero));
        path_mask is_less = share < one;
        return (path_four)(((path_mask)share & is_less) | ((path_mask)one & ~is_less));
}

static void path_kernel_draw(struct path_kernel *k, float x)
{
        const path_four first = {0.5F, 1.5F, 2.5F, 3.5F};
        float low = x + path_bin_low;
        /*
         * exp(y / 0.07) of bins at even distances is a geometric row: one exponential, then products. It
         * stays within e^-70 .. e^47 for margins of -2.5 .. 2.5.
         */
        float start = dog_fast_exp((low + 0.5F * path_bin_width) * (1.0F / 0.07F));
        path_four odds = {start, start * path_bin_odds, start * path_bin_odds * path_bin_odds,
                          start * path_bin_odds * path_bin_odds * path_bin_odds};
        const float four = path_bin_odds * path_bin_odds * path_bin_odds * path_bin_odds;
        for (int i = 0; i < DOG_PATH_BINS / 4; i++) {
                path_four y = low + path_bin_width * (first + (float)(4 * i));
                k->soft[i] = 1.0F / (1.0F + odds);
                k->deep[i] = path_ramp(y + 0.3F);
                k->near[i] = path_ramp(y - 0.15F);
                odds *= four;
        }
}

static path_four path_falls_bins(const struct dog_path_falls *h, int i)
{
        path_four bins;
        memcpy(&bins, &h->bin[4 * i], sizeof(bins));
        return bins;
}

/* The sum over a histogram as a share of it. Fewer than three past moments say nothing. */
static float path_falls_share(const struct dog_path_falls *h, float unit, path_four sum)
{
        if (!(h->total > 3.0F * unit * 0.9F))
                return NAN;
        return ((sum[0] + sum[1]) + (sum[2] + sum[3])) / h->total;
}

/* Of one reach: four sums side by side, since the additions of each wait for each other. */
static void path_falls_of(const struct dog_path_track *t, int reach, const struct path_kernel *k, float to[4])
{
        const struct dog_path_falls *fast = &t->falls[reach][0];
        const struct dog_path_falls *slow = &t->falls[reach][1];
        path_four sum[4] = {{0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}};
        for (int i = 0; i < DOG_PATH_BINS / 4; i++) {
                path_four bins = path_falls_bins(fast, i);
                sum[0] += bins * k->soft[i];
                sum[1] += path_falls_bins(slow, i) * k->soft[i];
                sum[2] += bins * k->deep[i];
                sum[3] += bins * k->near[i];
        }
        to[0] = path_falls_share(fast, t->unit[0], sum[0]);
        to[1] = path_falls_share(slow, t->unit[1], sum[1]);
        to[2] = path_falls_share(fast, t->unit[0], sum[2]);
        to[3] = path_falls_share(fast, t->unit[0], sum[3]);
}

static void path_falls_features(const struct dog_path_track *t, float *f)
{
        struct path_kernel k;
        path_four jump[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
        path_kernel_draw(&k, path_lag(t, 0));
        for (int r = 0; r < DOG_PATH_REACHES; r++)
                path_falls_of(t, r, &k, &f[DOG_PATH_F_FALL_NEXT + 4 * r]);
        for (int i = 0; i < DOG_PATH_BINS / 4; i++) {
                jump[0] += path_falls_bins(&t->jumps[0], i) * k.soft[i];
                jump[1] += path_falls_bins(&t->jumps[1], i) * k.soft[i];
        }
        f[DOG_PATH_F_JUMP] = path_falls_share(&t->jumps[0], t->unit[DOG_PATH_LIVES], jump[0]);
        f[DOG_PATH_F_JUMP_LONG] = path_falls_share(&t->jumps[1], t->unit[0], jump[1]);
}

static void path_ping_features(const struct dog_path_track *t, float *f)
{
        float least = NAN;
        for (int i = 0; i < 7; i++)
                if (!(t->rtt_least[i] >= least) && t->rtt_least[i] == t->rtt_least[i])
                        least = t->rtt_least[i];
        if (t->has_loss > 0) {
                f[DOG_PATH_F_LOSS_1S] = t->loss_1s;
                f[DOG_PATH_F_LOSS_4S] = t->loss_4s;
                f[DOG_PATH_F_LOSS_32S] = t->loss_32s;
        }
        if (!(t->has_rtt > 0))
                return;
        f[DOG_PATH_F_RTT] = t->rtt_log;
        f[DOG_PATH_F_RTT_32S] = t->rtt_mean;
        f[DOG_PATH_F_RTT_OVER] = t->rtt_log - least;
        f[DOG_PATH_F_RTT_SPREAD] = sqrtf(t->rtt_var);
}

/* How sure a lag is, and what it would bring: entry l is about the sample l + 1 before. */
struct path_beat {
        float weight[DOG_PATH_LAGS], chance[DOG_PATH_LAGS], margin[DOG_PATH_LAGS];
};

/* comb[l] compares with l + 1 samples before; so long a wait ago the path was at lag l. */
static void path_beat_draw(const struct dog_path_track *t, struct path_beat *b, float *f)
{
        const int16_t *newest = t->level + path_slot(t->count - 1) + DOG_PATH_RING;
        float apart[DOG_PATH_LAGS];
        float doubt = 9.0F;
        int best = 0;
        for (int l = 0; l < DOG_PATH_LAGS; l++) {
                bool is_known = t->comb_weight[l] > 0.05F;
                apart[l] = is_known ? t->comb[l] / t->comb_weight[l] : 9.0F;
                b->margin[l] = (float)newest[-l] * (1.0F / (float)PATH_LEVEL);
        }
        for (int l = 0; l < DOG_PATH_LAGS; l++) {
                float far = apart[l] * (-1.0F / 0.06F);
                b->weight[l] = dog_fast_exp2(far > -80.0F ? far * 1.44269504F : -120.0F);
                /* A margin is within 2.5: the exponent stays within 32. */
                b->chance[l] = 1.0F / (1.0F + dog_fast_exp2(b->margin[l] * (1.44269504F / 0.08F)));
        }
        for (int l = 1; l < DOG_PATH_LAGS; l++)
                if (apart[l] < doubt) {
                        doubt = apart[l];
                        best = l + 1;
                }
        if (best) {
                f[DOG_PATH_F_BEAT_LAG] = (float)best;
                f[DOG_PATH_F_BEAT_DOUBT] = doubt;
        }
}

static void path_beat_features(const struct dog_path_track *t, float *f)
{
        static const uint8_t drift[] = {3, 4, 5, 8};
        static const uint8_t lag[] = {7, 11, 15, 19, 23};
        struct path_beat b;
        /* At a sample a second there is no beat to hear that way. */
        if (!(t->has_rtt > 0) || t->step_s > 0.55F || t->count < 3)
                return;
        path_beat_draw(t, &b, f);
        float most = 0;
        float lowest = INFINITY;
        for (int j = 1; j <= 5; j++) {
                float sum = 1e-3F;
                float chance = 0;
                float margin = 0;
                /* If it repeats after l + 1 samples, sample t + j is like the one l + 1 - j back. */
                for (int l = j - 1; l < DOG_PATH_LAGS; l++) {
                        sum += b.weight[l];
                        chance += b.weight[l] * b.chance[l + 1 - j];
                        margin += b.weight[l] * b.margin[l + 1 - j];
                }
                f[DOG_PATH_F_BEAT_1 + j - 1] = chance / sum;
                most = chance / sum > most ? chance / sum : most;
                lowest = margin / sum < lowest ? margin / sum : lowest;
        }
        f[DOG_PATH_F_BEAT_MOST] = most;
        f[DOG_PATH_F_BEAT_MARGIN] = lowest;
        for (size_t i = 0; i < sizeof(drift); i++) {
                float then = path_lag(t, drift[i] - 1U);
                f[DOG_PATH_F_DRIFT_3 + (int)i] = 2.0F * then - path_lag(t, 2U * drift[i] - 1U);
        }
        for (size_t i = 0; i < sizeof(lag); i++)
                f[DOG_PATH_F_LAG_7 + (int)i] = path_lag(t, lag[i]);
}

void dog_path_peers_add(struct dog_path_peers *peers, const struct dog_path_track *t)
{
        if (t->count == 0)
                return;
        if (peers->count < DOG_PATH_PEERS)
                peers->face[peers->count] = t->face;
        peers->count++;
}

static void path_peer_features(const struct dog_path_track *t, const struct dog_path_peers *peers, float *f)
{
        uint32_t kept = peers->count < DOG_PATH_PEERS ? peers->count : DOG_PATH_PEERS;
        uint32_t own = 0;
        f[DOG_PATH_F_PATHS] = (float)peers->count;
        /* Of two equal faces it does not matter which one is left out. */
        while (own < kept && memcmp(&peers->face[own], &t->face, sizeof(t->face)) != 0)
                own++;
        uint32_t others = own < kept ? kept - 1 : kept;
        if (others == 0)
                return;
        for (int i = 0; i < DOG_PATH_FACES; i++) {
                float mine = t->face.item[i];
                float sum = 0;
                float least = INFINITY;
                float most = -INFINITY;
                float below = 0;
                for (uint32_t p = 0; p < kept; p++) {
                        float value = peers->face[p].item[i];
                        if (p == own)
                                continue;
                        sum += value;
                        least = value < least ? value : least;
                        most = value > most ? value : most;
                        below += value < mine ? 1.0F : 0.0F;
                }
                float *to = &f[DOG_PATH_F_PEERS_MEAN_BAD_1S + 4 * i];
                to[0] = sum / (float)others;
                to[1] = least;
                to[2] = most;
                to[3] = below / (float)others;
        }
}

void dog_path_features(const struct dog_path_track *t, const struct dog_path_peers *peers,
                       float out[DOG_PATH_FEATURES])
{
        for (int i = 0; i < DOG_PATH_FEATURES; i++)
                out[i] = NAN;
        if (t->count == 0)
                return;
        path_bad_features(t, out);
        path_window_features(t, out);
        path_spread_features(t, out);
        path_margin_features(t, out);
        path_falls_features(t, out);
        path_ping_features(t, out);
        path_beat_features(t, out);
        out[DOG_PATH_F_STEP] = t->count > 1 ? t->step_s : NAN;
        out[DOG_PATH_F_HAS_RTT] = t->has_rtt;
        out[DOG_PATH_F_HAS_LOSS] = t->has_loss;
        out[DOG_PATH_F_HAS_RATE] = t->has_rate;
        if (peers)
                path_peer_features(t, peers, out);
        for (int i = 0; i < DOG_PATH_EXTRAS; i++) {
                out[DOG_PATH_F_X_SIGNAL_DBM + 2 * i] = t->extra[i];
                out[DOG_PATH_F_X_SIGNAL_DBM + 2 * i + 1] = t->extra[i] - t->extra_mean[i];
        }
}

/* ---- names --------------------------------------------------------------------------------- */

const char *const *dog_path_feature_ids(void)
{
        static const char *const id[DOG_PATH_FEATURES] = {
#define X(feature, group, words) #feature,
                DOG_PATH_FEATURE_LIST(X)
#undef X
        };
        return id;
}

const char *dog_path_feature_name(int i)
{
        static const char *const name[DOG_PATH_FEATURES] = {
#define X(id, group, words) words,
                DOG_PATH_FEATURE_LIST(X)
#undef X
        };
        return i >= 0 && i < DOG_PATH_FEATURES ? name[i] : "unknown";
}

int dog_path_feature_group(int i)
{
        static const uint8_t group[DOG_PATH_FEATURES] = {
#define X(id, g, words) DOG_RISK_G_##g,
                DOG_PATH_FEATURE_LIST(X)
#undef X
        };
        return i >= 0 && i < DOG_PATH_FEATURES ? group[i] : DOG_RISK_G_MEASURE;
}
