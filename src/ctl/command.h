#pragma once
/**
 * Commands of `sundog`: each is a row of the table in sundog.c and a function in a file of its
 * own. Help text, usage and shell completion are made from the rows.
 */
#include "base/err.h"
#include "ctl/out.h"

#include <stddef.h>

/** Exit codes, the same for every command. */
enum exit_code {
        EXIT_FINE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_DEGRADED = 3,    /**< it works, but something needs a person */
        EXIT_UNREACHABLE = 4, /**< the daemon does not answer */
        EXIT_CONFIG = 5,      /**< the configuration is wrong */
        EXIT_REFUSED = 6,     /**< policy does not allow it */
};

enum option_type {
        OPTION_FLAG,
        OPTION_TEXT,
        OPTION_TIME,
        OPTION_SHARE,
        OPTION_RATE,
        OPTION_NUMBER,
        OPTION_COUNT
};

/** One option of one command, stored at `offset` of the command's own struct. */
struct option_row {
        const char *name; /**< without the dashes; NULL ends the list */
        const char *arg;  /**< what stands for the value in help; NULL for a flag */
        enum option_type type;
        size_t offset; /**< bool, const char *, int64_t (ns), double (0..1), double (bit/s), double, unsigned
                        */
        const char *help;
};

/** What every command gets. */
struct ctl {
        struct out out;
        const char *socket;
        const char *config;
        const struct command *command;
};

struct command {
        const char *name;
        const char *arguments; /**< for usage: "FILE..." */
        const char *help;      /**< one line */
        int (*run)(struct ctl *ctl, int argc, char **argv);
        const struct option_row *option;     /**< NULL: none of its own */
        const struct out_word *const *words; /**< lists of what it prints, a NULL ends them; NULL: none */
};

/**
 * Take the options of a command out of argv, which is left with the other words.
 * @return how many words are left, or -1 after a sentence on standard error
 */
int options_take(const struct ctl *ctl, void *to, int argc, char **argv);
/** The same for a command that takes no more than so many words; a sentence and -1 when there are more. */
int options_take_few(const struct ctl *ctl, void *to, int argc, char **argv, int most);
/** "-" before a letter, "--" before a word. */
const char *option_dashes(const struct option_row *row);
/** A sentence on standard error, "sundog: ..."; returns code. */
int ctl_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Ask the daemon one question (the reference is taken) and hand the answer over; or say why not. */
json_t *ctl_ask(struct ctl *ctl, json_t *question, int *code);
/** Local time of a wall clock in ns, "12:03:07.412". `to` holds at least 32 bytes. */
const char *ctl_time_text(int64_t wall_ns, char *to);

/** Open a file a person named for writing; `what` is "the predictions". An exit code, after a sentence. */
int ctl_file_open(FILE **to, const char *name, const char *what);
/** Flush and close; a full disk turns EXIT_FINE into a failure after a sentence, any other code stays. */
int ctl_file_close(FILE *to, const char *name, const char *what, int code);

void ctl_vips_print(const struct ctl *ctl, const json_t *rows);
void ctl_instances_print(const struct ctl *ctl, const json_t *rows);
/** What is believed of one instance and its host, and why. @return an exit status; EXIT_USAGE for an unknown
 * name */
int ctl_instance_explain(struct ctl *ctl, const char *name);

int command_check(struct ctl *ctl, int argc, char **argv);
int command_status(struct ctl *ctl, int argc, char **argv);
int command_paths(struct ctl *ctl, int argc, char **argv);
int command_explain(struct ctl *ctl, int argc, char **argv);
int command_events(struct ctl *ctl, int argc, char **argv);
int command_forecast(struct ctl *ctl, int argc, char **argv);
int command_replay(struct ctl *ctl, int argc, char **argv);
int command_vips(struct ctl *ctl, int argc, char **argv);
int command_instances(struct ctl *ctl, int argc, char **argv);
int command_conns(struct ctl *ctl, int argc, char **argv);
int command_drain(struct ctl *ctl, int argc, char **argv);
int command_forgive(struct ctl *ctl, int argc, char **argv);
int command_feeds(struct ctl *ctl, int argc, char **argv);
int command_promote(struct ctl *ctl, int argc, char **argv);
int command_demo(struct ctl *ctl, int argc, char **argv);
int command_train(struct ctl *ctl, int argc, char **argv);
int command_backtest(struct ctl *ctl, int argc, char **argv);

extern const struct out_word words_paths[], words_instances[], words_forecast[], words_explain[],
        words_scores[], words_steering[], words_incidents[];
extern const struct option_row option_status[], option_events[], option_replay[], option_demo[],
        option_forecast[], option_check[], option_conns[], option_drain[], option_promote[], option_vips[],
        option_forgive[], option_train[], option_backtest[];
