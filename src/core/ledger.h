#pragma once
/**
 * The ledger: what was believed, what was decided, why, and what came of it.
 *
 * The core keeps the newest rows in a ring; whoever wants them for good (the store, the
 * replay, a stream of events) is told of each row when it is written and again when it is
 * graded.
 */
#include "base/err.h"
#include "core/belief.h"
#include "core/plan.h"

#include <stddef.h>

#define DOG_GRADES(X)                                                                                        \
        X(OPEN, "open", "the horizon has not passed")                                                        \
        X(HELPED, "helped", "less broken promise than without the decision")                                 \
        X(NEUTRAL, "neutral", "no difference")                                                               \
        X(HURT, "hurt", "more broken promise than without the decision")

enum dog_grade {
#define X(id, word, help) DOG_GRADE_##id,
        DOG_GRADES(X)
#undef X
                DOG_GRADE_COUNT
};

struct dog_ledger_row {
        struct dog_plan plan;
        struct dog_belief active_was; /**< belief of the member that was active */
        struct dog_belief chosen;     /**< of the one that became active, or of the copy */
        uint16_t chosen_member;
        uint16_t usable;                 /**< bit i: member i was alive */
        float p_member[DOG_MEMBERS_MAX]; /**< near risk of every member: what else could have been done */
        uint8_t grade;                   /**< enum dog_grade */
        int64_t graded_ns;
        int64_t bad_with_ns;    /**< broken promise in the horizon, as decided */
        int64_t bad_without_ns; /**< ... and had nothing been done */
        int64_t seen_ns;        /**< how much of the horizon could be judged */
};

struct dog_ledger; /* a ring of rows */

/** NULL when memory is short. `rows` is the size of the ring, at least 1. */
struct dog_ledger *dog_ledger_new(size_t rows);
void dog_ledger_free(struct dog_ledger *l);
/** Who is told of rows; both calls pass a row that lives only during the call. */
void dog_ledger_listen(struct dog_ledger *l,
                       void (*told)(void *user, const struct dog_ledger_row *row, bool is_graded),
                       void *user);
/** Start numbering after `last`, so that numbers go on across restarts. */
void dog_ledger_number_from(struct dog_ledger *l, uint64_t last);
/** Append; gives the row its number, which is returned. */
uint64_t dog_ledger_append(struct dog_ledger *l, const struct dog_ledger_row *row);
/** The row with that number, or NULL when it has left the ring. The ring keeps it. */
const struct dog_ledger_row *dog_ledger_find(const struct dog_ledger *l, uint64_t decision);
/** The newest number; 0 when empty. */
uint64_t dog_ledger_newest(const struct dog_ledger *l);
/** Set the outcome of a row and tell; returns false when the row has left the ring. */
bool dog_ledger_grade(struct dog_ledger *l, uint64_t decision, enum dog_grade grade, int64_t now_ns,
                      int64_t bad_with_ns, int64_t bad_without_ns, int64_t seen_ns);

/** "helped" */
const char *dog_grade_name(enum dog_grade g);
