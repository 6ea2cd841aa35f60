#include "base/clock.h"
#include "ctl/command.h"
#include "ctl/replay.h"
#include "daemon/trees.h"
#include "learn/path_train.h"
#include "daemon/decision.h"
#include "daemon/config.h"
#include "store/store.h"
#include "wire/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct replay_args {
        int64_t rtt_ns, jitter_ns, delay_ns, hold_ns;
        double rtt_factor, loss, rate_bps, budget, mirror_price, margin;
        const char *mirror;
        const char *family;
        const char *store;
        int64_t since_ns;
        unsigned pace;
        bool decisions, each, spread;
        const char *model;
};

const struct option_row option_replay[] = {
        {"rtt", "TIME", OPTION_TIME, offsetof(struct replay_args, rtt_ns),
         "promise: round trip at most (100ms)"},
        {"rtt-factor", "N", OPTION_NUMBER, offsetof(struct replay_args, rtt_factor),
         "... or N medians of the last minute, whichever is more (2)"},
        {"jitter", "TIME", OPTION_TIME, offsetof(struct replay_args, jitter_ns),
         "promise: jitter at most (none)"},
        {"loss", "SHARE", OPTION_SHARE, offsetof(struct replay_args, loss), "promise: loss below (2%)"},
        {"rate", "RATE", OPTION_RATE, offsetof(struct replay_args, rate_bps),
         "promise: rate at least (what the index says the trace needs)"},
        {"mirror", "WHEN", OPTION_TEXT, offsetof(struct replay_args, mirror), "auto, always or never (auto)"},
        {"budget", "SHARE", OPTION_SHARE, offsetof(struct replay_args, budget),
         "extra copies, as a share of the time, in the long run (10%)"},
        {"mirror-price", "N", OPTION_NUMBER, offsetof(struct replay_args, mirror_price),
         "price of one second of a copy; a broken second costs 1 (0.02)"},
        {"margin", "N", OPTION_NUMBER, offsetof(struct replay_args, margin),
         "a move must gain this much a second (0.01)"},
        {"hold", "TIME", OPTION_TIME, offsetof(struct replay_args, hold_ns),
         "stay this long after a move (2s)"},
        {"delay", "TIME", OPTION_TIME, offsetof(struct replay_args, delay_ns),
         "from a sample until a decision made of it acts (200ms)"},
        {"pace", "N", OPTION_COUNT, offsetof(struct replay_args, pace),
         "of a path that carries nothing see each N-th sample only, as the daemon's probes do with 4 (1: "
         "all)"},
        {"family", "NAME", OPTION_TEXT, offsetof(struct replay_args, family),
         "of a folder, only traces of this family"},
        {"spread", NULL, OPTION_FLAG, offsetof(struct replay_args, spread),
         "columns are servers: new traffic goes to several at once, by weight"},
        {"since", "TIME", OPTION_TIME, offsetof(struct replay_args, since_ns),
         "the daemon's own telemetry of the last TIME (2h), instead of files"},
        {"store", "FILE", OPTION_TEXT, offsetof(struct replay_args, store),
         "... from this store (the configuration's)"},
        {"model", "FILE", OPTION_TEXT, offsetof(struct replay_args, model),
         "trees to forecast with; none: the online logistic alone (the installed ones)"},
        {"decisions", NULL, OPTION_FLAG, offsetof(struct replay_args, decisions),
         "list every decision with its reason and grade"},
        {"each", NULL, OPTION_FLAG, offsetof(struct replay_args, each), "a row for every trace as well"},
        {NULL, NULL, OPTION_FLAG, 0, NULL},
};

static int args_apply(const struct replay_args *a, struct replay_options *o)
{
        o->promise.rtt_ms = (double)a->rtt_ns / 1e6;
        o->promise.rtt_factor = a->rtt_factor;
        o->promise.jitter_ms = (double)a->jitter_ns / 1e6;
        o->promise.loss_ratio = a->loss;
        o->promise.rate_kbps = a->rate_bps / 1e3;
        o->policy.mirror_budget = a->budget;
        o->policy.mirror_price = a->mirror_price;
        o->policy.margin = a->margin;
        o->policy.hold_ns = a->hold_ns;
        o->delay_ns = a->delay_ns;
        if (a->pace == 0)
                return ctl_fail(EXIT_USAGE, "--pace 0: each 0th sample is none; write 1 to see all, or more");
        o->pace = a->pace;
        o->has_decisions = a->decisions;
        o->policy.spread = a->spread;
        static const char *const mode[] = {"auto", "always", "never"};
        for (int i = 0; i < 3; i++) {
                if (strcmp(a->mirror, mode[i]) == 0) {
                        o->policy.mirror = (enum dog_mirror_mode)i;
                        return 0;
                }
        }
        return ctl_fail(EXIT_USAGE, "--mirror %s: write auto, always or never", a->mirror);
}

struct session {
        struct ctl *ctl;
        struct dog_path_trained *trained; /* or NULL */
        char model[4200];                 /* its file; "" */
        struct replay_options options;
        struct replay_result total;
        const char *family;
        json_t *each; /* rows, or NULL */
        unsigned traces, single;
};

static json_t *score_row(const char *trace, enum replay_policy p, const struct replay_score *s)
{
        json_t *row = json_object();
        if (trace)
                json_object_set_new(row, "trace", json_string(trace));
        json_object_set_new(row, "policy", json_string(replay_policy_name(p)));
        json_object_set_new(row, "bad_s", json_real(s->bad_s));
        json_object_set_new(row, "bad_share",
                            s->served_s > 0 ? json_real(s->bad_s / s->served_s) : json_null());
        json_object_set_new(row, "overhead",
                            s->served_s > 0 ? json_real(1 + s->copies_s / s->served_s) : json_null());
        json_object_set_new(row, "moves_per_hour",
                            s->served_s > 0 ? json_real(s->moves / s->served_s * 3600) : json_null());
        json_object_set_new(row, "judged_s", json_real(s->served_s));
        json_object_set_new(row, "what", json_string(replay_policy_help(p)));
        return row;
}

static void result_add(struct replay_result *to, const struct replay_result *from)
{
        for (int p = 0; p < REPLAY_POLICY_COUNT; p++) {
                to->score[p].bad_s += from->score[p].bad_s;
                to->score[p].served_s += from->score[p].served_s;
                to->score[p].copies_s += from->score[p].copies_s;
                to->score[p].moves += from->score[p].moves;
        }
        for (int g = 0; g < DOG_GRADE_COUNT; g++)
                to->grade[g] += from->grade[g];
        to->unjudged_s += from->unjudged_s;
        to->changed += from->changed;
        to->measured_s += from->measured_s;
        if (from->decisions)
                json_array_extend(to->decisions, from->decisions);
}

/* Takes the trace over. */
static int session_play_trace(struct session *s, struct replay_trace *trace)
{
        struct replay_trace t = *trace;
        struct dog_err e = {0};
        /* With one path there is nothing to choose: it would only dilute what the others show. */
        if (t.paths < 2) {
                s->single++;
                replay_trace_free(&t);
                return EXIT_FINE;
        }
        struct replay_result one = {0};
        int rc = replay_run(&t, &s->options, &one, &e);
        if (rc < 0) {
                replay_trace_free(&t);
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        }
        result_add(&s->total, &one);
        for (int p = 0; s->each && p < REPLAY_POLICY_COUNT; p++)
                json_array_append_new(s->each, score_row(t.name, (enum replay_policy)p, &one.score[p]));
        json_decref(one.decisions);
        s->traces++;
        replay_trace_free(&t);
        return EXIT_FINE;
}

static int session_play(struct session *s, const char *file, int64_t step_ms, double need_kbps)
{
        struct replay_trace t;
        struct dog_err e = {0};
        if (replay_trace_load(&t, file, step_ms, need_kbps, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        return session_play_trace(s, &t);
}

/* What the daemon itself measured, read beside it. */
static int session_store(struct session *s, const char *file, int64_t since_ns)
{
        enum { TUNNELS = 32 };
        struct replay_trace t[TUNNELS];
        struct dog_err e = {0};
        struct dog_config *config = NULL;
        if (!file && dog_config_load(s->ctl->config, &config, &e) < 0)
                return ctl_fail(EXIT_CONFIG, "%s; or name a store with --store", e.text);
        struct dog_store_options o = {.path = file ? file : config->store.path, .read_only = true};
        struct dog_store *store = NULL;
        int64_t now_ns = dog_clock_wall_ns();
        size_t traces = 0;
        int rc = dog_store_open(&o, &store, &e);
        if (rc == 0)
                rc = replay_store_load(store, now_ns - since_ns, now_ns, t, TUNNELS, &traces, &e);
        int code = rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
        for (size_t i = 0; i < traces; i++) {
                if (code == EXIT_FINE)
                        code = session_play_trace(s, &t[i]);
                else
                        replay_trace_free(&t[i]);
        }
        dog_store_close(store);
        dog_config_free(config);
        return code;
}

static int session_folder(struct session *s, const char *folder)
{
        char file[4096];
        struct dog_err e = {0};
        struct dog_trace_index *index = NULL;
        snprintf(file, sizeof(file), "%s/traces.csv", folder);
        if (dog_trace_index_open(&index, file, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s; a folder is replayed by what its traces.csv names", e.text);
        struct dog_trace_about about;
        int code = EXIT_FINE;
        int rc;
        while (code == EXIT_FINE && (rc = dog_trace_index_next(index, &about, &e)) != 0) {
                if (rc < 0) {
                        code = ctl_fail(EXIT_FAILED, "%s", e.text);
                        break;
                }
                if (s->family && strcmp(s->family, about.family) != 0)
                        continue;
                struct stat there;
                snprintf(file, sizeof(file), "%s/%s.csv.gz", folder, about.name);
                if (stat(file, &there) < 0)
                        snprintf(file, sizeof(file), "%s/%s.csv", folder, about.name);
                code = session_play(s, file, about.step_ms, about.need_kbps);
        }
        dog_trace_index_close(index);
        return code;
}

static json_t *session_report(const struct session *s)
{
        json_t *policies = json_array();
        for (int p = 0; p < REPLAY_POLICY_COUNT; p++)
                json_array_append_new(policies, score_row(NULL, (enum replay_policy)p, &s->total.score[p]));
        json_t *grades = json_object();
        for (int g = DOG_GRADE_HELPED; g < DOG_GRADE_COUNT; g++)
                json_object_set_new(grades, dog_grade_name((enum dog_grade)g),
                                    json_integer((json_int_t)s->total.grade[g]));
        json_t *report =
                json_pack("{s:i, s:o, s:o, s:f, s:I, s:f}", "traces", (int)s->traces, "policies", policies,
                          "grades", grades, "unjudged_s", s->total.unjudged_s, "changes_told",
                          (json_int_t)s->total.changed, "measured_s", s->total.measured_s);
        json_object_set_new(report, "model", s->trained ? json_string(s->model) : json_null());
        if (s->each)
                json_object_set(report, "each", s->each);
        if (s->total.decisions)
                json_object_set(report, "decisions", s->total.decisions);
        return report;
}

static void session_print(const struct session *s)
{
        static const struct out_column policy[] = {
                {.key = "policy"},
                {.key = "bad_s", .title = "BAD s", .digits = 1, .is_right = true},
                {.key = "bad_share", .title = "BAD", .unit = "%", .digits = 3, .is_right = true},
                {.key = "overhead", .title = "TRAFFIC", .unit = "x", .digits = 3, .is_right = true},
                {.key = "moves_per_hour", .title = "MOVES/h", .digits = 0, .is_right = true},
                {.key = "what"},
                {.key = NULL}};
        static const struct out_column each[] = {
                {.key = "trace"},
                {.key = "policy"},
                {.key = "bad_s", .title = "BAD s", .digits = 1, .is_right = true},
                {.key = "bad_share", .title = "BAD", .unit = "%", .digits = 2, .is_right = true},
                {.key = "overhead", .title = "TRAFFIC", .unit = "x", .digits = 2, .is_right = true},
                {.key = NULL}};
        static const struct out_column decision[] = {
                {.key = "trace"},
                {.key = "at_ms", .title = "AT ms", .is_right = true},
                {.key = "act"},
                {.key = "why"},
                {.key = "from"},
                {.key = "chosen"},
                {.key = "p_without", .title = "P WITHOUT", .unit = "%", .digits = 0, .is_right = true},
                {.key = "p_with", .title = "P WITH", .unit = "%", .digits = 0, .is_right = true},
                {.key = "bad_without_ms", .title = "BAD WITHOUT", .unit = "ms", .is_right = true},
                {.key = "bad_with_ms", .title = "BAD WITH", .unit = "ms", .is_right = true},
                {.key = "grade"},
                {.key = NULL}};
        const struct out *o = &s->ctl->out;
        json_t *report = session_report(s);
        if (o->format == OUT_JSON) {
                out_object(o, report);
        } else if (o->format == OUT_JSONL) {
                out_rows(o, json_object_get(report, "policies"), policy);
                if (s->each)
                        out_rows(o, s->each, each);
                if (s->total.decisions)
                        out_rows(o, s->total.decisions, decision);
        } else {
                if (s->total.decisions && json_array_size(s->total.decisions)) {
                        out_rows(o, s->total.decisions, decision);
                        fputc('\n', o->to);
                }
                if (s->each) {
                        out_rows(o, s->each, each);
                        fputc('\n', o->to);
                }
                out_rows(o, json_object_get(report, "policies"), policy);
                fprintf(o->to, "%u trace%s, %.0f s judged; decisions: %llu helped, %llu neutral, %llu hurt\n",
                        s->traces, s->traces == 1 ? "" : "s", s->total.score[REPLAY_SUNDOG].served_s,
                        (unsigned long long)s->total.grade[DOG_GRADE_HELPED],
                        (unsigned long long)s->total.grade[DOG_GRADE_NEUTRAL],
                        (unsigned long long)s->total.grade[DOG_GRADE_HURT]);
                fprintf(o->to, "%llu changes of level told, in %.1f h of paths\n",
                        (unsigned long long)s->total.changed, s->total.measured_s / 3600);
                fprintf(o->to, "forecast by %s%s\n",
                        s->trained ? "the online logistic and the trees of " : "the online logistic alone",
                        s->trained ? s->model : "");
                if (s->single)
                        fprintf(o->to, "%u more had one path only: nothing to choose, left out\n", s->single);
        }
        json_decref(report);
}

/* The trees that the daemon would have had; those that were asked for must be fit. */
static int session_trees(struct session *s, const char *asked)
{
        struct dog_err e = {0};
        if (asked && strcmp(asked, "none") == 0)
                return EXIT_FINE;
        if (asked)
                snprintf(s->model, sizeof(s->model), "%s", asked);
        else
                trees_installed("path.model", s->model, sizeof(s->model));
        if (!s->model[0])
                return EXIT_FINE;
        if (trees_read(s->model, &s->trained, &e) == 0) {
                s->options.trees = dog_path_trained_model(s->trained);
                return EXIT_FINE;
        }
        if (asked)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        fprintf(stderr, "trees are not used: %s\n", e.text);
        s->model[0] = 0;
        return EXIT_FINE;
}

int command_replay(struct ctl *ctl, int argc, char **argv)
{
        struct session s = {.ctl = ctl, .options = replay_options_default()};
        struct replay_args a = {.rtt_ns = 100 * DOG_MS,
                                .pace = 1,
                                .delay_ns = s.options.delay_ns,
                                .hold_ns = s.options.policy.hold_ns,
                                .rtt_factor = 2,
                                .loss = 0.02,
                                .budget = s.options.policy.mirror_budget,
                                .mirror_price = s.options.policy.mirror_price,
                                .margin = s.options.policy.margin,
                                .mirror = "auto"};
        int words = options_take(ctl, &a, argc, argv);
        if (words < 0 || args_apply(&a, &s.options) != 0)
                return EXIT_USAGE;
        if (words == 0 && a.since_ns == 0)
                return ctl_fail(EXIT_USAGE,
                                "replay what? Name trace files, a folder with a traces.csv, or --since 2h");
        if (words > 0 && a.since_ns > 0)
                return ctl_fail(EXIT_USAGE, "replay either files or --since, not both");
        s.family = a.family;
        s.each = a.each ? json_array() : NULL;
        s.total.decisions = a.decisions ? json_array() : NULL;
        int code = session_trees(&s, a.model);
        if (code == EXIT_FINE && a.since_ns > 0)
                code = session_store(&s, a.store, a.since_ns);
        for (int i = 0; i < words && code == EXIT_FINE; i++) {
                struct stat what;
                if (stat(argv[i], &what) < 0)
                        code = ctl_fail(EXIT_FAILED, "cannot replay %s: %s", argv[i], strerror(errno));
                else if (S_ISDIR(what.st_mode))
                        code = session_folder(&s, argv[i]);
                else
                        code = session_play(&s, argv[i], 0, s.options.promise.rate_kbps);
        }
        if (code == EXIT_FINE && s.traces == 0)
                code = ctl_fail(EXIT_FAILED, "there was nothing with two paths%s%s to replay",
                                s.family ? " in family " : "", s.family ? s.family : "");
        if (code == EXIT_FINE)
                session_print(&s);
        json_decref(s.each);
        json_decref(s.total.decisions);
        dog_path_trained_free(s.trained);
        return code;
}
