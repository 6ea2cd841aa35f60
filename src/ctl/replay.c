#include "ctl/replay.h"

#include "base/clock.h"
#include "daemon/decision.h"
#include "kinds/twin/twin.h"
#include "wire/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A recording longer than this many slots is refused rather than loaded: 4 days at 5 a second. */
#define SLOTS_MAX ((size_t)1 << 21)

struct replay_options replay_options_default(void)
{
        struct replay_options o = {
                .promise = dog_promise_default(), .policy = dog_policy_default(), .delay_ns = 200 * DOG_MS};
        o.promise.rtt_ms = 100;
        o.promise.rtt_factor = 2;
        o.promise.loss_ratio = 0.02;
        return o;
}

const char *replay_policy_name(enum replay_policy p)
{
        static const char *const name[] = {
#define X(id, word, help) word,
                REPLAY_POLICIES(X)
#undef X
        };
        return name[p];
}

const char *replay_policy_help(enum replay_policy p)
{
        static const char *const help_text[] = {
#define X(id, word, help) help,
                REPLAY_POLICIES(X)
#undef X
        };
        return help_text[p];
}

/* ---- loading ---- */

struct row_list {
        struct dog_trace_row *row;
        size_t count, room;
};

static int rows_read(struct dog_trace *trace, struct row_list *list, const char *file, struct dog_err *e)
{
        struct dog_trace_row row;
        int rc;
        while ((rc = dog_trace_next(trace, &row, e)) > 0) {
                if (row.path >= DOG_MEMBERS_MAX)
                        return dog_err_set(e, -E2BIG, "%s: more than %d paths; split the recording", file,
                                           DOG_MEMBERS_MAX);
                if (list->count == list->room) {
                        size_t room = list->room ? 2 * list->room : 4096;
                        struct dog_trace_row *more = realloc(list->row, room * sizeof(*more));
                        if (!more)
                                return dog_err_set(e, -ENOMEM, "%s: out of memory after %zu rows", file,
                                                   list->count);
                        list->row = more;
                        list->room = room;
                }
                list->row[list->count++] = row;
        }
        return rc;
}

/* The smallest distance of two rows of one path: the step at which it was measured. */
static int64_t rows_step_ms(const struct row_list *list)
{
        int64_t newest[DOG_MEMBERS_MAX];
        int64_t step = 0;
        for (int i = 0; i < DOG_MEMBERS_MAX; i++)
                newest[i] = -1;
        for (size_t i = 0; i < list->count; i++) {
                const struct dog_trace_row *r = &list->row[i];
                int64_t d = r->t_ms - newest[r->path];
                if (newest[r->path] >= 0 && d > 0 && (step == 0 || d < step))
                        step = d;
                newest[r->path] = r->t_ms;
        }
        return step;
}

static int trace_fill(struct replay_trace *t, const struct row_list *list, int64_t step_ms, const char *file,
                      struct dog_err *e)
{
        if (step_ms <= 0)
                step_ms = rows_step_ms(list);
        if (list->count == 0 || step_ms <= 0)
                return dog_err_set(e, -EINVAL, "%s: no path has two samples; there is nothing to replay",
                                   file);
        t->step_ns = step_ms * DOG_MS;
        t->slots = (size_t)(list->row[list->count - 1].t_ms / step_ms) + 1;
        if (t->slots > SLOTS_MAX)
                return dog_err_set(e, -E2BIG, "%s: %zu steps of %lld ms are more than replay takes; cut it",
                                   file, t->slots, (long long)step_ms);
        t->sample = calloc(t->slots * t->paths, sizeof(*t->sample));
        t->is_there = calloc(t->slots * t->paths, sizeof(*t->is_there));
        if (!t->sample || !t->is_there)
                return dog_err_set(e, -ENOMEM, "%s: out of memory for %zu steps", file, t->slots);
        for (size_t i = 0; i < list->count; i++) {
                const struct dog_trace_row *r = &list->row[i];
                size_t at = (size_t)(r->t_ms / step_ms) * t->paths + r->path;
                struct dog_sample *s = &t->sample[at];
                *s = dog_sample_at(r->t_ms / step_ms * step_ms * DOG_MS);
                t->is_there[at] = true;
                if (r->has_rtt)
                        s->value[DOG_SIGNAL_RTT] = r->rtt_ms;
                if (r->has_loss)
                        s->value[DOG_SIGNAL_LOSS] = r->loss;
                if (r->has_rate)
                        s->value[DOG_SIGNAL_RATE] = r->rate_kbps;
        }
        return 0;
}

int replay_trace_load(struct replay_trace *t, const char *file, int64_t step_ms, double need_kbps,
                      struct dog_err *e)
{
        memset(t, 0, sizeof(*t));
        t->need_kbps = need_kbps;
        const char *slash = strrchr(file, '/');
        snprintf(t->name, sizeof(t->name), "%s", slash ? slash + 1 : file);
        char *end = strstr(t->name, ".csv");
        if (end)
                *end = 0;
        struct dog_trace *trace = NULL;
        int rc = dog_trace_open(&trace, file, e);
        if (rc < 0)
                return rc;
        struct row_list list = {0};
        rc = rows_read(trace, &list, file, e);
        t->paths = dog_trace_paths(trace);
        for (unsigned i = 0; i < t->paths && i < DOG_MEMBERS_MAX; i++)
                snprintf(t->path[i], sizeof(t->path[0]), "%s", dog_trace_path_name(trace, i));
        if (rc == 0)
                rc = trace_fill(t, &list, step_ms, file, e);
        free(list.row);
        dog_trace_close(trace);
        if (rc < 0)
                replay_trace_free(t);
        return rc;
}

void replay_trace_free(struct replay_trace *t)
{
        free(t->sample);
        free(t->is_there);
        memset(t, 0, sizeof(*t));
}

/* ---- judging ---- */

enum slot_verdict { SLOT_GOOD, SLOT_BAD, SLOT_UNKNOWN };

/* What became of traffic on a set of paths in one slot: one good copy is enough. */
static enum slot_verdict slot_judge(const struct replay_trace *t, const bool *bad, size_t slot, unsigned set)
{
        enum slot_verdict v = SLOT_UNKNOWN;
        for (unsigned p = 0; p < t->paths; p++) {
                if (!(set & (1U << p)) || !t->is_there[slot * t->paths + p])
                        continue;
                if (!bad[slot * t->paths + p])
                        return SLOT_GOOD;
                v = SLOT_BAD;
        }
        return v;
}

static unsigned slot_there(const struct replay_trace *t, size_t slot)
{
        unsigned set = 0;
        for (unsigned p = 0; p < t->paths; p++)
                if (t->is_there[slot * t->paths + p])
                        set |= 1U << p;
        return set;
}

static bool slot_counts(const struct replay_trace *t, const struct replay_options *o, size_t slot)
{
        int64_t t_ms = (int64_t)slot * t->step_ns / DOG_MS;
        return t_ms >= o->since_ms && (o->until_ms == 0 || t_ms < o->until_ms) &&
               (t->paths == 1 || __builtin_popcount(slot_there(t, slot)) >= 2);
}

/* What part of traffic shared out so met a broken promise; what was not measured is left out. */
static double weights_judge(const struct replay_trace *t, const bool *bad, size_t slot,
                            const uint8_t weight[DOG_MEMBERS_MAX])
{
        double sum = 0;
        double broken = 0;
        for (unsigned p = 0; p < t->paths; p++) {
                size_t at = slot * t->paths + p;
                sum += t->is_there[at] ? weight[p] : 0;
                broken += t->is_there[at] && bad[at] ? weight[p] : 0;
        }
        return sum > 0 ? broken / sum : (double)NAN;
}

static void score_add(struct replay_score *s, const struct replay_trace *t, enum slot_verdict v, int copies)
{
        double step_s = (double)t->step_ns / 1e9;
        s->served_s += step_s;
        s->copies_s += step_s * (copies > 1 ? copies - 1 : 0);
        s->bad_s += v == SLOT_BAD ? step_s : 0;
}

/* The policies that need no loop, one slot at a time. */
struct reactive {
        unsigned active;
        size_t bad_slot[DOG_MEMBERS_MAX]; /* newest slot in which a path was seen bad, plus 1; 0 never */
        size_t moves;
};

static void reactive_see(struct reactive *r, const struct replay_trace *t, const bool *bad, size_t slot)
{
        for (unsigned p = 0; p < t->paths; p++)
                if (t->is_there[slot * t->paths + p] && bad[slot * t->paths + p])
                        r->bad_slot[p] = slot + 1;
        size_t at = slot * t->paths + r->active;
        if (t->is_there[at] && !bad[at])
                return;
        /* The path that has been good for longest, of those that are there. */
        unsigned best = r->active;
        for (unsigned p = 0; p < t->paths; p++)
                if (t->is_there[slot * t->paths + p] &&
                    (!t->is_there[slot * t->paths + best] || r->bad_slot[p] < r->bad_slot[best]))
                        best = p;
        r->moves += best != r->active;
        r->active = best;
}

static unsigned reactive_second(const struct reactive *r, const struct replay_trace *t, size_t slot)
{
        unsigned best = r->active;
        for (unsigned p = 0; p < t->paths; p++)
                if (p != r->active && t->is_there[slot * t->paths + p] &&
                    (best == r->active || r->bad_slot[p] < r->bad_slot[best]))
                        best = p;
        return best;
}

static void simple_policies(const struct replay_trace *t, const struct replay_options *o, const bool *bad,
                            size_t delay, struct replay_score score[REPLAY_POLICY_COUNT])
{
        struct reactive r = {0};
        size_t window = (size_t)(5 * DOG_S / t->step_ns);
        double single_bad[DOG_MEMBERS_MAX] = {0};
        double single_s[DOG_MEMBERS_MAX] = {0};
        double step_s = (double)t->step_ns / 1e9;
        double served_s = 0;
        for (size_t k = 0; k < t->slots; k++) {
                if (k >= delay)
                        reactive_see(&r, t, bad, k - delay);
                if (!slot_counts(t, o, k))
                        continue;
                unsigned there = slot_there(t, k);
                unsigned second = reactive_second(&r, t, k);
                bool is_after_bad = r.bad_slot[r.active] > 0 && k < r.bad_slot[r.active] + window;
                unsigned both = 1U << r.active | (is_after_bad ? 1U << second : 0);
                score_add(&score[REPLAY_REACTIVE], t, slot_judge(t, bad, k, 1U << r.active), 1);
                score_add(&score[REPLAY_AFTER_BAD], t, slot_judge(t, bad, k, both), __builtin_popcount(both));
                score_add(&score[REPLAY_ALWAYS], t, slot_judge(t, bad, k, there), __builtin_popcount(there));
                score_add(&score[REPLAY_ORACLE], t, slot_judge(t, bad, k, there), 1);
                for (unsigned p = 0; p < t->paths; p++) {
                        single_bad[p] += slot_judge(t, bad, k, 1U << p) == SLOT_BAD ? step_s : 0;
                        single_s[p] += there & 1U << p ? step_s : 0;
                }
                served_s += step_s;
        }
        /* A path that was not measured all the time is judged by its share. */
        double best = 1;
        double sum = 0;
        unsigned known = 0;
        for (unsigned p = 0; p < t->paths; p++) {
                if (single_s[p] <= 0)
                        continue;
                double share = single_bad[p] / single_s[p];
                best = share < best && single_s[p] >= served_s / 2 ? share : best;
                sum += share;
                known++;
        }
        score[REPLAY_NEVER].served_s += served_s;
        score[REPLAY_NEVER].bad_s += known ? best * served_s : 0;
        score[REPLAY_ANY].served_s += served_s;
        score[REPLAY_ANY].bad_s += known ? sum / known * served_s : 0;
        score[REPLAY_REACTIVE].moves += (double)r.moves;
        score[REPLAY_AFTER_BAD].moves += (double)r.moves;
}

/* ---- playing ---- */

struct player {
        const struct replay_trace *trace;
        struct replay_result *result;
        const struct dog_group *group;
        bool has_decisions;
        size_t moves;
        bool is_spread;
        uint16_t *hot;                      /* by slot */
        uint8_t (*weight)[DOG_MEMBERS_MAX]; /* by slot; spread only */
        float *share;                       /* by slot: of new traffic that got a copy; spread only */
};

static int player_begin(struct player *p, const struct replay_options *o)
{
        size_t slots = p->trace->slots;
        p->is_spread = o->policy.spread || p->trace->is_spread;
        p->hot = calloc(slots, sizeof(*p->hot));
        if (p->is_spread) {
                p->weight = calloc(slots, sizeof(*p->weight));
                p->share = calloc(slots, sizeof(*p->share));
        }
        return p->hot && (!p->is_spread || (p->weight && p->share)) ? 0 : -ENOMEM;
}

static void player_end(struct player *p)
{
        free(p->hot);
        free(p->weight);
        free(p->share);
}

static void player_note(struct player *p, size_t slot)
{
        p->hot[slot] = p->group->hot;
        if (!p->is_spread)
                return;
        for (unsigned m = 0; m < p->group->members; m++)
                p->weight[slot][m] = p->group->member[m].weight;
        p->share[slot] = (float)p->group->share / DOG_SHARE_ONE;
}

/* What was decided `delay` slots before, against what was measured. */
static void player_score(const struct player *p, const bool *bad, size_t slot, size_t delay)
{
        struct replay_score *s = &p->result->score[REPLAY_SUNDOG];
        double step_s = (double)p->trace->step_ns / 1e9;
        if (p->is_spread) {
                double broken = weights_judge(p->trace, bad, slot, p->weight[slot - delay]);
                if (isnan(broken)) {
                        p->result->unjudged_s += step_s;
                        return;
                }
                s->served_s += step_s;
                s->bad_s += broken * step_s;
                s->copies_s += (double)p->share[slot - delay] * step_s;
                return;
        }
        enum slot_verdict v = slot_judge(p->trace, bad, slot, p->hot[slot - delay]);
        if (v == SLOT_UNKNOWN)
                p->result->unjudged_s += step_s;
        else
                score_add(s, p->trace, v, __builtin_popcount(p->hot[slot - delay]));
}

static void player_told(void *user, const struct dog_ledger_row *row, bool is_graded)
{
        struct player *p = user;
        if (!is_graded) {
                bool is_move = row->plan.act == DOG_ACT_MOVE || row->plan.act == DOG_ACT_LEAVE ||
                               row->plan.act == DOG_ACT_SPREAD;
                p->moves += is_move && row->plan.why != DOG_WHY_START;
                return;
        }
        p->result->grade[row->grade]++;
        if (!p->has_decisions)
                return;
        json_t *d = decision_json(row, p->group);
        json_object_set_new(d, "trace", json_string(p->trace->name));
        json_object_set_new(d, "at_ms", json_integer(row->plan.at_ns / DOG_MS));
        json_array_append_new(p->result->decisions, d);
}

static void player_event(void *user, const struct dog_event *e)
{
        struct player *p = user;
        p->result->changed += e->type == DOG_EVENT_CHANGED;
}

/* Would the daemon have measured it? The path that carries traffic is probed more often than the others. */
static bool slot_is_probed(const struct dog_group *g, const struct replay_options *o, size_t slot,
                           unsigned path)
{
        return o->pace <= 1 || !g->is_started || (g->hot & 1U << path) || (slot + path) % o->pace == 0;
}

/* Who judges where not every sample is seen: the same promise, over all samples. */
struct judge {
        struct dog_insight insight;
        struct dog_outlook outlook[DOG_MEMBERS_MAX];
};

static struct judge *judge_new(const struct dog_group *g)
{
        struct judge *j = calloc(1, sizeof(*j));
        if (!j)
                return NULL;
        dog_insight_init(&j->insight, &g->policy);
        for (unsigned p = 0; p < g->members; p++)
                dog_outlook_init(&j->outlook[p], &g->policy);
        return j;
}

/* Hand over what was measured in one slot, and note what broke the promise. */
static void slot_play(struct dog_group *g, const struct replay_trace *t, const struct replay_options *o,
                      struct judge *judge, size_t slot, bool *bad)
{
        for (unsigned p = 0; p < t->paths; p++) {
                size_t at = slot * t->paths + p;
                if (!t->is_there[at])
                        continue;
                if (slot_is_probed(g, o, slot, p))
                        dog_group_sample(g, p, &t->sample[at]);
                struct dog_outlook *by = &g->member[p].outlook;
                if (judge) {
                        by = &judge->outlook[p];
                        dog_outlook_observe(by, &judge->insight, &g->promise, &g->policy, &t->sample[at]);
                }
                bad[at] = by->verdict.is_bad;
        }
}

int replay_run(const struct replay_trace *t, const struct replay_options *o, struct replay_result *result,
               struct dog_err *e)
{
        size_t delay = (size_t)((o->delay_ns + t->step_ns - 1) / t->step_ns);
        delay = delay < 1 ? 1 : delay;
        struct dog_kind kind = twin_kind;
        kind.period_ns = t->step_ns;
        kind.close = NULL;
        kind.observe = NULL;
        struct dog_group *g = dog_group_new(t->name, &kind, t->paths);
        bool *bad = calloc(t->slots * t->paths, sizeof(*bad));
        struct judge *judge = NULL;
        struct player player = {.trace = t, .result = result, .group = g, .has_decisions = o->has_decisions};
        struct dog_loop *loop = dog_loop_new(&(struct dog_loop_options){
                .budget = {.copies_share = 1}, .event = player_event, .user = &player});
        int rc = player_begin(&player, o);
        if (result->decisions == NULL && o->has_decisions)
                result->decisions = json_array();
        if (!loop || !g || !bad || rc < 0) {
                dog_group_free(g);
                dog_loop_free(loop);
                free(bad);
                player_end(&player);
                return dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
        }
        g->promise = o->promise;
        if (g->promise.rate_kbps <= 0)
                g->promise.rate_kbps = t->need_kbps;
        g->policy = o->policy;
        g->policy.spread = player.is_spread;
        /* A slot without a row is a path that was not measured; allow for one that was late. */
        if (g->policy.dead_ns < 2 * t->step_ns)
                g->policy.dead_ns = 2 * t->step_ns;
        for (unsigned p = 0; p < t->paths; p++)
                memcpy(g->member[p].name, t->path[p], sizeof(t->path[0]));
        rc = dog_loop_add(loop, g, -t->step_ns, e);
        if (rc < 0) {
                dog_group_free(g);
                goto out;
        }
        /* Trees are for paths, as in the daemon. */
        if (!player.is_spread && dog_group_trees(g, o->trees) < 0) {
                rc = dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
                goto out;
        }
        if (o->pace > 1 && !(judge = judge_new(g))) {
                rc = dog_err_set(e, -ENOMEM, "%s: out of memory", t->name);
                goto out;
        }
        for (unsigned p = 0; p < t->paths && judge; p++)
                g->member[p].patience_ns = (int64_t)o->pace * t->step_ns + g->policy.dead_ns;
        dog_ledger_listen(dog_loop_ledger(loop), player_told, &player);
        for (size_t k = 0; k < t->slots; k++) {
                for (unsigned p = 0; p < t->paths; p++)
                        result->measured_s += t->is_there[k * t->paths + p] ? (double)t->step_ns / 1e9 : 0;
                slot_play(g, t, o, judge, k, bad);
                dog_loop_step(loop, (int64_t)k * t->step_ns);
                player_note(&player, k);
        }
        for (size_t k = delay; k < t->slots; k++) {
                if (slot_counts(t, o, k))
                        player_score(&player, bad, k, delay);
        }
        result->score[REPLAY_SUNDOG].moves += (double)player.moves;
        simple_policies(t, o, bad, delay, result->score);
out:
        dog_loop_free(loop);
        free(judge);
        free(bad);
        player_end(&player);
        return rc;
}
