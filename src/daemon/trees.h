#pragma once
/**
 * The trees that forecast: found, loaded, shown, and trained anew in the background.
 *
 * In force is, in this order: what was trained here (FILE of the store, ".model" behind it), the file of the
 * configuration, the installed one. A file that is not fit (damaged, another version, other features) is
 * refused with one sentence, and the next is tried; with none the online logistic forecasts alone.
 *
 * Training runs on a timetable in a thread of the decider, that is, without privileges and behind the same
 * filter of system calls, with the lowest priority (SCHED_IDLE) and at most its share of one processor: after
 * each step it sleeps until its share has caught up. It reads the store through a connection of its own.
 * What was measured last is kept apart; a new model serves only if it is better there than the one in force
 * (learn/path_contest.h). The one before is kept as ".previous".
 *
 * trees_* but the thread are for the thread of the loop.
 */
#include "base/err.h"
#include "daemon/config.h"
#include "models/path_risk.h"

#include <jansson.h>

struct trees;

/** Where the installed model of that file name is, seen from this program; "" when there is none. */
void trees_installed(const char *name, char *to, size_t room);
struct dog_path_trained;
/** Read a model file and make it ready. 0, or the sentence of whoever refused it. Free with
 * dog_path_trained_free(). */
int trees_read(const char *file, struct dog_path_trained **to, struct dog_err *e);

/**
 * Find and load.
 * @param note  told what was refused; may be NULL
 * @return 0, also without trees; -ENOMEM
 */
int trees_open(struct trees **to, const struct dog_config *config, void (*note)(void *user, const char *text),
               void *user, struct dog_err *e);
void trees_close(struct trees *t);

/** NULL: the logistic alone. Valid until trees_release() or trees_close(). */
const struct dog_path_model *trees_model(const struct trees *t);
/** {"in_force", "file", "data", "made_wall_ns", "retraining", "last", ...} */
json_t *trees_json(const struct trees *t);

/** Start training on the timetable, if the configuration says so. `wake` is called from the thread. */
int trees_train(struct trees *t, void (*wake)(void *user), void *user, struct dog_err *e);
/** Rounds of training as a share of the recipe's: 1; tests take less. Before trees_train(). */
void trees_effort(struct trees *t, double effort);
/**
 * What training has come to since the last call. When `is_new`, trees_model() has changed: give it to every
 * group, then call trees_release().
 * @return true once after each training
 */
bool trees_news(struct trees *t, char *text, size_t room, bool *is_new);
void trees_release(struct trees *t);
