/* What trainings share: see train.h. */
#include "ctl/train.h"

#include "base/clock.h"
#include "ctl/progress.h"
#include "daemon/say.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- being stopped ---- */

static volatile sig_atomic_t train_stop;

static void train_stopped(int signal)
{
        (void)signal;
        train_stop = 1;
}

void train_listen(void)
{
        struct sigaction act = {.sa_handler = train_stopped, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
}

/* ---- the state of a training that was stopped ---- */

/* A state may hold every model of every fold. */
enum { PART_MOST = 1 << 30 };
#define PART_NS (60 * DOG_S)

struct part {
        char name[4096];
        int64_t saved_ns;
};

static int part_take(const struct part *p, struct dog_gbt_jobs *jobs)
{
        struct stat there;
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        if (stat(p->name, &there) < 0)
                return EXIT_FINE;
        int rc = dog_file_take(p->name, PART_MOST, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_gbt_jobs_resume(jobs, bytes, size, &e);
        free(bytes);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s: cannot go on from here: %s; delete it to begin anew",
                                p->name, e.text);
        struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
        fprintf(stderr, "sundog: going on from %s, at %u of %u rounds\n", p->name, now.done, now.of);
        return EXIT_FINE;
}

static int part_save(struct part *p, const struct dog_gbt_jobs *jobs)
{
        uint8_t *bytes = NULL;
        size_t size = 0;
        struct dog_err e = {0};
        int rc = dog_gbt_jobs_save(jobs, &bytes, &size, &e);
        if (rc == 0)
                rc = dog_file_replace(p->name, bytes, size, &e);
        free(bytes);
        p->saved_ns = dog_clock_mono_ns();
        return rc < 0 ? ctl_fail(EXIT_FAILED, "%s", e.text) : EXIT_FINE;
}

/* Until it is done, or somebody wants it to stop. A power cut or kill -9 costs a minute. */
static int part_work(struct part *part, struct dog_gbt_jobs *jobs, train_note_fn *note, const void *of)
{
        struct progress bar = progress_begin("training");
        struct dog_err e = {0};
        int rc = 1;
        int code = EXIT_FINE;
        part->saved_ns = dog_clock_mono_ns();
        progress_wait(&bar, "beginning");
        while (rc > 0 && !train_stop && code == EXIT_FINE) {
                char words[96] = "";
                struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
                if (note)
                        note(of, words, sizeof(words));
                rc = dog_gbt_jobs_step(jobs, &e);
                progress_show(&bar, now.done, now.of, note ? words : NULL);
                if (rc > 0 && dog_clock_mono_ns() - part->saved_ns > PART_NS)
                        code = part_save(part, jobs);
        }
        progress_end(&bar);
        if (rc < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        if (rc == 0 || code != EXIT_FINE)
                return code;
        struct dog_gbt_jobs_progress now = dog_gbt_jobs_progress(jobs);
        code = part_save(part, jobs);
        if (code != EXIT_FINE)
                return code;
        return ctl_fail(
                EXIT_FAILED,
                "stopped at %u of %u rounds; %s holds what was done: the same command goes on from there, "
                "delete the file to begin anew",
                now.done, now.of, part->name);
}

int train_work(const struct train_args *a, struct dog_gbt_jobs *jobs, train_note_fn *note, const void *of)
{
        struct part part;
        snprintf(part.name, sizeof(part.name), "%s.part", a->out);
        int code = part_take(&part, jobs);
        return code == EXIT_FINE ? part_work(&part, jobs, note, of) : code;
}

/* ---- the file, and what it says of itself ---- */

/* Who builds reproducibly says what time it is: reproducible-builds.org, SOURCE_DATE_EPOCH. */
int64_t train_made_ns(void)
{
        const char *said = getenv("SOURCE_DATE_EPOCH");
        char *end = NULL;
        long long s = said ? strtoll(said, &end, 10) : 0;
        return said && *said && !*end && s >= 0 && s < INT64_MAX / DOG_S ? s * DOG_S : dog_clock_wall_ns();
}

/* "pam onset auroc 5s": the column is auroc, the row what is left; "pam V(0)", "pam pairs o90". */
static void score_place(const char *name, char row[64], char column[32])
{
        const char *end = name + strlen(name);
        const char *last = strrchr(name, ' ');
        const char *from = last ? last + 1 : name;
        size_t digits = strspn(from, "0123456789");
        bool is_horizon = last && digits && strcmp(from + digits, "s") == 0;
        bool is_pairs = last && last - name > 6 && strncmp(last - 6, " pairs", 6) == 0;
        if (is_horizon || is_pairs) {
                const char *before = last;
                while (before > name && before[-1] != ' ')
                        before--;
                end = is_horizon ? last : end;
                from = before;
        }
        snprintf(column, 32, "%.*s", (int)(end - from), from);
        int label = from > name ? (int)(from - name) - 1 : 0;
        snprintf(row, 64, "%.*s%s", label, name, is_horizon ? last : "");
}

static bool has_columns_of(json_t *row, json_t *other)
{
        const char *key;
        json_t *value;
        bool is_same = json_object_size(row) == json_object_size(other);
        json_object_foreach(row, key, value) is_same &= json_object_get(other, key) != NULL;
        return is_same;
}

/* Rows that have the same scores are a table. */
static void scores_table(const struct out *o, json_t *all, size_t at)
{
        struct out_column column[16] = {{.key = "of"}};
        int columns = 0;
        json_t *rows = json_array();
        json_t *first = json_array_get(all, at);
        json_t *value;
        const char *key;
        size_t i;
        json_array_foreach(all, i, value) if (i >= at && has_columns_of(first, value))
                json_array_append(rows, value);
        json_object_foreach(first, key, value)
        {
                if (columns < 15 && strcmp(key, "of") != 0)
                        column[++columns] = (struct out_column){.key = key, .digits = 4, .is_right = true};
        }
        out_rows(o, rows, column);
        fputc('\n', o->to);
        json_decref(rows);
}

static void scores_print(const struct out *o, const struct dog_model *model)
{
        json_t *all = json_array();
        json_t *row = NULL;
        size_t i;
        for (unsigned s = 0; s < model->scores; s++) {
                char label[64];
                char column[32];
                score_place(model->score[s].name, label, column);
                json_array_foreach(all, i, row) if (strcmp(say_word(row, "of"), label) == 0) break;
                if (i == json_array_size(all)) {
                        row = json_pack("{s:s}", "of", label);
                        json_array_append_new(all, row);
                }
                json_object_set_new(row, column, say_real(model->score[s].value));
        }
        json_array_foreach(all, i, row)
        {
                size_t before = 0;
                while (before < i && !has_columns_of(json_array_get(all, before), row))
                        before++;
                if (before == i)
                        scores_table(o, all, i);
        }
        json_decref(all);
}

int train_write(struct ctl *ctl, const struct train_args *a, const struct dog_model *model)
{
        const struct out *o = &ctl->out;
        struct dog_err e = {0};
        char fingerprint[24];
        char part[4096];
        if (dog_model_write(model, a->out, &e) < 0)
                return ctl_fail(EXIT_FAILED, "%s", e.text);
        snprintf(fingerprint, sizeof(fingerprint), "%016llx", (unsigned long long)model->data_fingerprint);
        json_t *scores = json_array();
        for (unsigned i = 0; i < model->scores; i++)
                json_array_append_new(scores, json_pack("{s:s, s:o}", "score", model->score[i].name, "value",
                                                        isfinite(model->score[i].value)
                                                                ? json_real(model->score[i].value)
                                                                : json_null()));
        if (o->format == OUT_JSON) {
                json_t *all =
                        json_pack("{s:s, s:s, s:I, s:s, s:O}", "model", a->out, "kind",
                                  dog_model_kind_name(model->kind), "rows", (json_int_t)model->data_rows,
                                  "fingerprint", fingerprint, "scores", scores);
                out_object(o, all);
                json_decref(all);
        } else if (o->format == OUT_JSONL) {
                out_rows(o, scores, NULL);
        } else {
                scores_print(o, model);
                fprintf(o->to, "%s: %llu samples, fingerprint of the data %s\n%s", a->out,
                        (unsigned long long)model->data_rows, fingerprint,
                        model->scores ? "The scores are those of cross-validation: on days (nodes) that were "
                                        "left out.\n(what they mean: sundog help backtest)\n"
                                      : "It was not examined: without parts to leave out (--folds, or a "
                                        "second trace) nobody can tell.\n");
        }
        json_decref(scores);
        /* It is in the model now. */
        snprintf(part, sizeof(part), "%s.part", a->out);
        unlink(part);
        return EXIT_FINE;
}
