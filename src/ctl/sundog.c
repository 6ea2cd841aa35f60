/**
 * sundog: look at, ask and try out Sundog. See command.h; every row here is a command.
 */
#include "ctl/command.h"

#include "daemon/api.h"
#include "daemon/config.h"

#include <stdlib.h>
#include <string.h>

static int command_help(struct ctl *ctl, int argc, char **argv);
static int command_version(struct ctl *ctl, int argc, char **argv);

/* Lists of words that a command's help explains. */
static const struct out_word *const words_of_paths[] = {words_paths, NULL};
static const struct out_word *const words_of_forecast[] = {words_forecast, NULL};
static const struct out_word *const words_of_instances[] = {words_instances, NULL};
static const struct out_word *const words_of_explain[] = {words_explain, NULL};
static const struct out_word *const words_of_backtest[] = {words_scores, words_steering, words_incidents,
                                                           NULL};

static const struct command commands[] = {
        {"status", "", "where things stand: paths, classes, vips, instances, what was decided",
         command_status, option_status, NULL},
        {"paths", "", "every path: now, forecast, score, what it carries and costs", command_paths, NULL,
         words_of_paths},
        {"vips", "", "every virtual address: who gets new connections, how many are protected", command_vips,
         option_vips, NULL},
        {"instances", "", "every server: health, risk ahead, load, what it serves and stands by for",
         command_instances, NULL, words_of_instances},
        {"conns", "", "protected connections: who serves them, who stands by, how far behind", command_conns,
         option_conns, NULL},
        {"drain", "INSTANCE", "empty a server: its connections are carried over; says when it may be stopped",
         command_drain, option_drain, NULL},
        {"promote", "INSTANCE|CLIENT", "move connections to their standbys now", command_promote,
         option_promote, NULL},
        {"forgive", "CLASS", "protect a class of requests again that was found not to be replayable",
         command_forgive, option_forgive, NULL},
        {"forecast", "[PATH|INSTANCE]", "latency, jitter, loss and risk ahead, with what drives the risk",
         command_forecast, option_forecast, words_of_forecast},
        {"feeds", "", "what others announce: maintenance, weather, events; how fresh it is, what comes next",
         command_feeds, NULL, NULL},
        {"explain", "[d-N|INSTANCE]",
         "why a decision was made and what came of it, without a number the newest; or how a server and its "
         "host are",
         command_explain, NULL, words_of_explain},
        {"events", "", "decisions, their grades, alerts; -f goes on as they happen", command_events,
         option_events, NULL},
        {"replay", "FILE...|DIR|--since TIME", "what it would have done on recorded links, before it may act",
         command_replay, option_replay, NULL},
        {"train", "--data DIR|--store FILE --out MODEL",
         "learn from recorded telemetry what forecasts are made of", command_train, option_train, NULL},
        {"backtest", "--data DIR [--model NAME]",
         "how good forecasts were on recorded telemetry, and what they were worth", command_backtest,
         option_backtest, words_of_backtest},
        {"check", "[FILE]", "read a configuration and say what is wrong, or what it means", command_check,
         option_check, NULL},
        {"demo", "", "two sites, three recorded operators, with and without Sundog (root)", command_demo,
         option_demo, NULL},
        {"help", "[COMMAND|completion|manual]",
         "this list, a command's options, or what bash and sundog(1) are made from", command_help, NULL,
         NULL},
        {"version", "", "which one this is", command_version, NULL, NULL},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

/* ---- help ---- */

static int command_version(struct ctl *ctl, int argc, char **argv)
{
        (void)argc, (void)argv;
        json_t *v = json_pack("{s:s, s:s}", "name", "sundog", "version", SUNDOG_VERSION);
        out_object(&ctl->out, v);
        json_decref(v);
        return EXIT_FINE;
}

static void help_command(const struct out *o, const struct command *c)
{
        size_t width = 0;
        char left[64];
        fprintf(o->to, "usage: sundog %s %s\n  ", c->name, c->arguments);
        out_wrapped(o, c->help, 2);
        for (int pass = 0; pass < 2; pass++)
                for (const struct option_row *row = c->option; row && row->name; row++) {
                        snprintf(left, sizeof(left), "%s%s%s%s", option_dashes(row), row->name,
                                 row->arg ? " " : "", row->arg ? row->arg : "");
                        width = strlen(left) > width ? strlen(left) : width;
                        if (pass == 0)
                                continue;
                        fprintf(o->to, "  %-*s  ", (int)width, left);
                        out_wrapped(o, row->help, width + 4);
                }
        for (const struct out_word *const *list = c->words; list && *list; list++) {
                fputc('\n', o->to);
                out_words(o, *list);
        }
}

static void help_all(const struct out *o)
{
        fputs("usage: sundog [-o table|json|jsonl] [--socket PATH] [--config FILE] COMMAND ...\n", o->to);
        for (int i = 0; i < COMMANDS; i++) {
                fprintf(o->to, "  %-10s ", commands[i].name);
                out_wrapped(o, commands[i].help, 13);
        }
        out_wrapped(
                o,
                "what a command's options and words mean: sundog help COMMAND; exit codes: 0 fine, 1 failed, "
                "2 usage, 3 degraded, 4 daemon unreachable, 5 bad configuration, 6 refused by policy",
                0);
}

static const struct command *command_find(const char *name)
{
        for (int i = 0; i < COMMANDS; i++)
                if (strcmp(commands[i].name, name) == 0)
                        return &commands[i];
        return NULL;
}

/* For bash: the first word that is no option is the command; its options come from its rows. */
static void help_completion(FILE *to)
{
        fputs("# bash completion of sundog(1), made by: sundog help completion\n"
              "_sundog() {\n"
              "        local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command= "
              "words i\n"
              "        for ((i = 1; i < COMP_CWORD; i++)); do\n"
              "                case ${COMP_WORDS[i]} in\n"
              "                -o | --socket | --config) i=$((i + 1)) ;;\n"
              "                -*) ;;\n"
              "                *) command=${COMP_WORDS[i]}; break ;;\n"
              "                esac\n"
              "        done\n"
              "        case $before in\n"
              "        -o) COMPREPLY=($(compgen -W 'table json jsonl' -- \"$word\")); return ;;\n"
              "        --socket | --config) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
              "        esac\n"
              "        case $command in\n"
              "        '' | help) words='",
              to);
        for (int i = 0; i < COMMANDS; i++)
                fprintf(to, "%s%s", i ? " " : "", commands[i].name);
        fputs("' ;;\n", to);
        for (int i = 0; i < COMMANDS; i++) {
                if (!commands[i].option)
                        continue;
                fprintf(to, "        %s) words='", commands[i].name);
                for (const struct option_row *row = commands[i].option; row->name; row++)
                        fprintf(to, "%s%s ", option_dashes(row), row->name);
                fputs("' ;;\n", to);
        }
        fputs("        esac\n"
              "        COMPREPLY=($(compgen -W \"${words-} -o --socket --config --help\" -- \"$word\"))\n"
              "}\n"
              "complete -o default -F _sundog sundog\n",
              to);
}

/* In scdoc a few characters stand for more than themselves. */
static void help_escaped(FILE *to, const char *text)
{
        for (; *text; text++) {
                if (strchr("\\*_[]#<>~`", *text))
                        fputc('\\', to);
                fputc(*text, to);
        }
}

/* For sundog(1): a paragraph a command, and its options below it. */
static void help_manual(FILE *to)
{
        for (int i = 0; i < COMMANDS; i++) {
                fprintf(to, "*%s* ", commands[i].name);
                help_escaped(to, commands[i].arguments);
                fputs("\n\t", to);
                help_escaped(to, commands[i].help);
                fputs("\n\n", to);
                for (const struct option_row *row = commands[i].option; row && row->name; row++) {
                        fprintf(to, "\t*%s", option_dashes(row));
                        help_escaped(to, row->name);
                        fputs(row->arg ? "* " : "*", to);
                        help_escaped(to, row->arg ? row->arg : "");
                        fputs("\n\t\t", to);
                        help_escaped(to, row->help + strspn(row->help, ". "));
                        fputs("\n\n", to);
                }
                for (const struct out_word *const *list = commands[i].words; list && *list; list++)
                        for (const struct out_word *w = *list; w->word; w++) {
                                fputs("\t*", to);
                                help_escaped(to, w->word);
                                fputs("*\n\t\t", to);
                                help_escaped(to, w->means);
                                fputs("\n\n", to);
                        }
        }
}

static int command_help(struct ctl *ctl, int argc, char **argv)
{
        if (argc > 0 && strcmp(argv[0], "completion") == 0)
                return help_completion(ctl->out.to), EXIT_FINE;
        if (argc > 0 && strcmp(argv[0], "manual") == 0)
                return help_manual(ctl->out.to), EXIT_FINE;
        const struct command *c = argc > 0 ? command_find(argv[0]) : NULL;
        if (argc > 0 && !c)
                return ctl_fail(EXIT_USAGE, "there is no command \"%s\"; see: sundog help", argv[0]);
        if (c)
                help_command(&ctl->out, c);
        else
                help_all(&ctl->out);
        return EXIT_FINE;
}

/* Options before or after the command that every command has. Returns how many words they take; 0: none. */
static int global_option(struct ctl *ctl, enum out_format *format, int argc, char **argv)
{
        static const char *const name[] = {"-o", "--socket", "--config"};
        for (int i = 0; i < 3; i++) {
                if (strcmp(argv[0], name[i]) != 0)
                        continue;
                if (argc < 2) {
                        ctl_fail(EXIT_USAGE, "%s needs a value", name[i]);
                        return -1;
                }
                if (i == 0 && !out_format_parse(argv[1], format)) {
                        ctl_fail(EXIT_USAGE, "-o %s: write table, json or jsonl", argv[1]);
                        return -1;
                }
                if (i > 0)
                        *(i == 1 ? &ctl->socket : &ctl->config) = argv[1];
                return 2;
        }
        return 0;
}

int main(int argc, char **argv)
{
        const char *from_environment = getenv("SUNDOG_SOCKET");
        struct ctl ctl = {.socket = from_environment ? from_environment : DOG_API_SOCKET,
                          .config = DOG_CONFIG_FILE};
        enum out_format format = OUT_TABLE;
        int words = 0;
        for (int i = 1; i < argc;) {
                int n = global_option(&ctl, &format, argc - i, argv + i);
                if (n < 0)
                        return EXIT_USAGE;
                if (n == 0)
                        argv[words++] = argv[i++];
                i += n;
        }
        ctl.out = out_open(stdout, format);
        if (words == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
                struct out to = words ? ctl.out : out_open(stderr, OUT_TABLE);
                help_all(&to);
                return words ? EXIT_FINE : EXIT_USAGE;
        }
        ctl.command = command_find(strcmp(argv[0], "--version") == 0 ? "version" : argv[0]);
        if (!ctl.command)
                return ctl_fail(EXIT_USAGE, "there is no command \"%s\"; see: sundog help", argv[0]);
        for (int i = 1; i < words; i++) {
                if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
                        help_command(&ctl.out, ctl.command);
                        return EXIT_FINE;
                }
        }
        return ctl.command->run(&ctl, words - 1, argv + 1);
}
