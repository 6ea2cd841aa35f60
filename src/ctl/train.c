/* What trainings share: see train.h. */
#include "ctl/train.h"

#include "base/clock.h"
#include "daemon/say.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- being stopped ---- */

static volatile sig_atomic_t train_stop;

static void train_stopped(int signal)
{
        (void)signal;
        train_stop = 1;
}

bool train_is_stopped(void)
{
        return train_stop != 0;
}

void train_listen(void)
{
        struct sigaction act = {.sa_handler = train_stopped, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
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
        bool is_horizon = digits && strcmp(from + digits, "s") == 0;
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
        return EXIT_FINE;
}
