/* What trainings share: see train.h. */
#include "ctl/train.h"

#include "base/clock.h"
#include "daemon/say.h"

#include <signal.h>
#include <stdlib.h>

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

int train_write(struct ctl *ctl, const struct train_args *a, const struct dog_model *model)
{
        static const struct out_column column[] = {
                {.key = "score"}, {.key = "value", .digits = 4, .is_right = true}, {.key = NULL}};
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
        } else {
                out_rows(o, scores, column);
        }
        if (o->format == OUT_TABLE)
                fprintf(o->to, "%s: %llu samples, fingerprint of the data %s\n%s", a->out,
                        (unsigned long long)model->data_rows, fingerprint,
                        model->scores ? "The scores are those of cross-validation: on days (nodes) that were "
                                        "left out.\n"
                                      : "It was not examined: without parts to leave out (--folds, or a "
                                        "second trace) nobody can tell.\n");
        json_decref(scores);
        return EXIT_FINE;
}
