#pragma once
/**
 * Why: one list, from which come the enum, the words, the metric labels and the documentation.
 * A plan always has a reason; staying has one too.
 */

/* name, word, what an operator should understand */
#define DOG_REASONS(X)                                                                                       \
        X(NONE, "none", "no decision was made")                                                              \
        X(EMPTY, "empty", "the group has no member")                                                         \
        X(FROZEN, "frozen", "the operator froze this group; only a dead member is left")                     \
        X(SETTLED, "settled", "the active member is the best one")                                           \
        X(HOLDING, "holding", "moved a moment ago: the numbers get time to speak")                           \
        X(MARGIN, "margin", "another member is better, but by less than a move costs or than we doubt")      \
        X(NO_BETTER, "no-better", "the active member is bad and nothing alive is forecast to be better")     \
        X(START, "start", "first choice after start")                                                        \
        X(UNUSABLE, "unusable", "the active member is dead: it must be left at once")                        \
        X(BREACH_FORECAST, "breach-forecast", "the active member is forecast to break the promise")          \
        X(BREACH_SEEN, "breach-seen", "the active member breaks the promise now")                            \
        X(CHEAPER, "cheaper", "another member costs less for the same promise, and is stable")               \
        X(MIRROR_RISK, "mirror-risk", "a copy is worth its price: the promise may break on one member")      \
        X(MIRROR_ALWAYS, "mirror-always", "the configuration asks for copies at all times")                  \
        X(MIRROR_CALM, "mirror-calm", "the risk has passed: the copy is not worth its price any more")       \
        X(MIRROR_BETTER, "mirror-better", "another member makes the better copy")                            \
        X(PROVED, "proved", "the move has proved itself: the old member is let go")                          \
        X(BACK_OUT, "back-out", "the move made it worse: back to the old member")                            \
        X(ALL_BAD, "all-bad", "every member breaks the promise: copies on all that live")                    \
        X(REFLEX, "reflex", "the data plane acted by itself; the plan follows it")                           \
        X(OPERATOR, "operator", "the operator asked for it")                                                 \
        X(BUDGET, "budget", "refused: the budget for copies is spent")                                       \
        X(CAPACITY, "capacity", "refused: something shared has no room for it")                              \
        X(MOVES, "moves", "refused: enough groups are moving at this moment")                                \
        X(COMMON_FATE, "common-fate", "refused: the copy would share the fate of what it protects")          \
        X(NO_MIRROR, "no-mirror", "refused: nobody else is fit to hold a copy")                              \
        X(EJECT, "eject", "a member is dead: its new and its existing traffic is the others' at once")       \
        X(AVOID_FORECAST, "avoid-forecast",                                                                  \
          "a member is forecast to break the promise: new traffic goes to the others")                       \
        X(AVOID_SEEN, "avoid-seen", "a member breaks the promise now: new traffic goes to the others")       \
        X(LEAVE_FORECAST, "leave-forecast",                                                                  \
          "a member is forecast to fail for certain, or for long: existing traffic is carried over")         \
        X(LEAVE_SEEN, "leave-seen",                                                                          \
          "a member goes on breaking the promise: existing traffic is carried over")                         \
        X(DRAIN, "drain", "the operator empties a member: existing traffic is carried over")                 \
        X(PANIC, "panic", "too few members are healthy: health is ignored, or the rest would be overrun")    \
        X(PANIC_OVER, "panic-over", "enough members are healthy again: health counts")                       \
        X(BACKUP, "backup", "the primary members cannot: the backups serve")                                 \
        X(RECOVERED, "recovered", "a member has been well for long enough: it starts slowly")                \
        X(SLOW_START, "slow-start", "a member that came back proves itself: it gets more new traffic")       \
        X(STANDBY, "standby", "the set of mirrors follows health: the sick removed, the healthy added")      \
        X(REBALANCE, "rebalance", "new traffic follows health, load, nearness and price")                    \
        X(SHARE, "share", "the share of new traffic that gets a copy follows the risk and its budget")       \
        X(LAST, "last", "refused: the last member that lives is never left")                                 \
        X(LIMIT, "limit", "refused: enough members are being left at this moment")

enum dog_reason {
#define X(id, word, help) DOG_WHY_##id,
        DOG_REASONS(X)
#undef X
                DOG_WHY_COUNT
};

/** "breach-forecast" */
const char *dog_reason_name(enum dog_reason why);
/** One sentence for a person. */
const char *dog_reason_help(enum dog_reason why);
