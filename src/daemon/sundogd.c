/**
 * sundogd: the daemon. Starts as root, reads the configuration, splits into hands (root) and the
 * decider (its own user, no privilege), and stays as the parent of the second.
 */
#include "base/log.h"
#include "daemon/decider.h"
#include "hands/policy.h"
#include "hands/split.h"
#include "kinds/instance/front.h"
#include "kinds/path/host.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 5 };

static void usage(FILE *to)
{
        fputs("usage: sundogd [--config FILE] [--pins FOLDER] [--remove] [--debug] [--version]\n"
              "  --config FILE   the configuration (" DOG_CONFIG_FILE ")\n"
              "  --pins FOLDER   where the data plane is pinned (" DOG_HANDS_PIN_FOLDER ")\n"
              "  --remove        take the tunnels and the front of the configuration off again, and end\n"
              "  --debug         say more\n"
              "Ask it with sundog(1). Try a configuration with: sundog check FILE\n",
              to);
}

/* What the configuration says, as one text for the history. */
static char *config_text(const struct dog_config *c)
{
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        if (!to)
                return NULL;
        dog_config_write_effective(c, to);
        fclose(to);
        return text;
}

int main(int argc, char **argv)
{
        static const struct option option[] = {{"config", required_argument, NULL, 'c'},
                                               {"pins", required_argument, NULL, 'p'},
                                               {"debug", no_argument, NULL, 'd'},
                                               {"remove", no_argument, NULL, 'r'},
                                               {"version", no_argument, NULL, 'v'},
                                               {"help", no_argument, NULL, 'h'},
                                               {NULL, 0, NULL, 0}};
        const char *file = DOG_CONFIG_FILE;
        const char *pins = NULL;
        bool is_removing = false;
        int c;
        while ((c = getopt_long(argc, argv, "", option, NULL)) != -1) {
                switch (c) {
                case 'c':
                        file = optarg;
                        break;
                case 'p':
                        pins = optarg;
                        break;
                case 'd':
                        dog_log_level_set(DOG_LOG_DEBUG);
                        break;
                case 'r':
                        is_removing = true;
                        break;
                case 'v':
                        puts("sundogd " SUNDOG_VERSION);
                        return EXIT_FINE;
                case 'h':
                        usage(stdout);
                        return EXIT_FINE;
                default:
                        usage(stderr);
                        return EXIT_USAGE;
                }
        }
        struct dog_err e = {0};
        if (optind < argc) {
                usage(stderr);
                return EXIT_USAGE;
        }
        if (geteuid() != 0) {
                dog_log(DOG_LOG_ERROR,
                        "sundogd must start as root: it loads BPF programs and makes devices, then gives "
                        "that up");
                return EXIT_FAILED;
        }
        struct dog_config *config = NULL;
        if (dog_config_load(file, &config, &e) < 0) {
                dog_log(DOG_LOG_ERROR, "%s", e.text);
                return EXIT_CONFIG;
        }
        struct dog_hands_policy policy;
        dog_hands_policy_init(&policy);
        int rc = pins ? dog_hands_policy_folder(&policy, pins, &e) : 0;
        if (rc == 0)
                rc = decider_policy(config, &policy, &e);
        if (rc == 0)
                rc = decider_folders(config, &e);
        if (rc < 0) {
                dog_log(DOG_LOG_ERROR, "%s", e.text);
                dog_config_free(config);
                return EXIT_FAILED;
        }
        char *text = config_text(config);
        struct decider_options decider = {.config = config, .config_text = text};
        struct dog_split split = {.policy = &policy,
                                  .user = config->user && config->user[0] ? config->user : NULL,
                                  .decider_main = is_removing ? decider_remove : decider_main,
                                  .data = &decider};
        /* Hands knows no kind: it is given the objects of all of them as one list. */
        const struct dog_hands_object *of_paths;
        const struct dog_hands_object *of_instances;
        size_t n_paths = path_objects(&of_paths);
        size_t n_instances = instance_objects(&of_instances);
        struct dog_hands_object *objects = calloc(n_paths + n_instances, sizeof(*objects));
        if (!objects) {
                dog_log(DOG_LOG_ERROR, "out of memory");
                return EXIT_FAILED;
        }
        memcpy(objects, of_paths, n_paths * sizeof(*objects));
        memcpy(objects + n_paths, of_instances, n_instances * sizeof(*objects));
        split.objects = objects;
        split.n_objects = n_paths + n_instances;
        int status = dog_split_run(&split, &e);
        if (e.text[0])
                dog_log(DOG_LOG_ERROR, "%s", e.text);
        free(objects);
        free(text);
        dog_config_free(config);
        return status;
}
