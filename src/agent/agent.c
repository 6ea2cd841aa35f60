/**
 * sundog-agent: on an instance, tells the fronts how the host is doing and which connections it has, and
 * answers the same questions locally. Starts as root only to read its key and make its folder; everything
 * else it does as its own user, without a capability and behind a system call filter.
 */
#include "agent/client.h"
#include "agent/config.h"
#include "agent/proc.h"
#include "agent/run.h"
#include "base/clock.h"
#include "base/log.h"
#include "hands/privilege.h"
#include "hands/secret.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_CONFIG = 5 };

struct options {
        const char *config, *socket, *ask;
        bool is_checking, is_removing, is_json;
};

static void usage(FILE *to)
{
        fputs("usage: sundog-agent [--config FILE] [--check|--remove-shim] [--debug]\n"
              "       sundog-agent status|conns [-o table|json] [--socket FILE]\n"
              "  --config FILE   the configuration (" AGENT_CONFIG_FILE ")\n"
              "  --check         try the configuration, the key and what this kernel tells, and end\n"
              "  --remove-shim   take the shim off this host's devices, and end\n"
              "  --debug         say more\n"
              "  --version       say which one this is\n"
              "  status          how the running agent and its fronts are doing\n"
              "  conns           the connections of the served ports, and what the fronts say of each\n"
              "  --socket FILE   where the agent answers (" AGENT_CONFIG_SOCKET ")\n"
              "keys of the configuration:\n",
              to);
        agent_config_help(to);
}

static int key_read(const char *file, uint8_t key[DOG_SECRET_KEY], struct dog_err *e)
{
        int fd = dog_secret_open(file, e);
        if (fd < 0)
                return fd;
        int rc = dog_secret_key_read(key, fd, e);
        close(fd);
        return rc < 0 ? dog_err_prefix(e, rc, "%s", file) : 0;
}

static const char *user_of(const struct agent_config *c)
{
        if (c->user[0])
                return c->user;
        return getpwnam(AGENT_CONFIG_USER) ? AGENT_CONFIG_USER : NULL;
}

/* The folder of the socket, if it is not there: ours, for the user that we become. */
static int folder_make(const struct agent_config *c, struct dog_err *e)
{
        char folder[AGENT_CONFIG_TEXT];
        memcpy(folder, c->socket, sizeof(folder));
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder)
                return 0;
        *slash = 0;
        if (mkdir(folder, 0750) < 0)
                return errno == EEXIST
                               ? 0
                               : dog_err_set(e, -errno, "%s: cannot be made: %s", folder, strerror(errno));
        const char *name = user_of(c);
        const struct passwd *user = getpwnam(name ? name : DOG_PRIVILEGE_USER);
        if (!user)
                user = getpwnam("nobody");
        if (geteuid() == 0 && user && chown(folder, user->pw_uid, user->pw_gid) < 0)
                return dog_err_set(e, -errno, "%s: cannot be given to %s: %s", folder, user->pw_name,
                                   strerror(errno));
        return 0;
}

static void count_socket(void *user, const struct agent_diag_socket *s)
{
        (void)s;
        ++*(unsigned *)user;
}

static int check(const struct agent_config *c, struct dog_err *e)
{
        static struct dog_counters counters;
        struct agent_diag *diag = NULL;
        char missing[256];
        unsigned sockets = 0;
        agent_proc_read(&counters, dog_clock_mono_ns());
        agent_proc_missing(&counters, missing, sizeof(missing));
        int rc = agent_diag_open(&diag, c->port, c->ports, e);
        if (rc == 0)
                rc = agent_diag_walk(diag, count_socket, &sockets, e);
        agent_diag_close(diag);
        if (rc < 0)
                return rc;
        printf("configuration and key are good: instance %s, %u front%s, %u TCP socket%s of the served "
               "ports\n",
               c->name, c->fronts, c->fronts == 1 ? "" : "s", sockets, sockets == 1 ? "" : "s");
        if (c->shim_devices) {
                struct dog_err why = {0};
                uint8_t secret[DOG_SECRET_KEY];
                rc = key_read(c->shim_key, secret, e);
                sodium_memzero(secret, sizeof(secret));
                if (rc < 0)
                        return rc;
                if (instance_shim_probe(&why) < 0)
                        printf("no shim: %s\n", why.text);
                else
                        printf("the shim can be loaded, for %u service%s\n", c->shim_services,
                               c->shim_services == 1 ? "" : "s");
        }
        if (missing[0])
                printf("this kernel does not tell: %s\n", missing);
        if (c->fronts == 0)
                puts("no fronts: it will answer locally only");
        return 0;
}

static int serve(const struct options *o)
{
        struct agent_config config;
        struct dog_err e = {0};
        uint8_t key[DOG_SECRET_KEY];
        if (sodium_init() < 0) {
                dog_log(DOG_LOG_ERROR, "libsodium cannot be used");
                return EXIT_FAILED;
        }
        int rc = agent_config_load(&config, o->config, &e);
        if (rc == 0 && o->is_removing) {
                rc = agent_shim_remove(&config, &e);
                if (rc < 0)
                        dog_log(DOG_LOG_ERROR, "%s", e.text);
                return rc < 0 ? EXIT_FAILED : EXIT_FINE;
        }
        if (rc == 0)
                rc = key_read(config.key, key, &e);
        if (rc < 0) {
                dog_log(DOG_LOG_ERROR, "%s", e.text);
                return EXIT_CONFIG;
        }
        if (o->is_checking) {
                sodium_memzero(key, sizeof(key));
                rc = check(&config, &e);
        } else {
                struct agent_shim shim;
                umask(0077);
                rc = agent_shim_open(&shim, &config, &e);
                if (rc < 0) {
                        sodium_memzero(key, sizeof(key));
                        dog_log(DOG_LOG_ERROR, "%s", e.text);
                        return EXIT_CONFIG;
                }
                rc = folder_make(&config, &e);
                if (rc == 0)
                        rc = dog_privileges_drop(user_of(&config), &e);
                if (rc == 0)
                        rc = dog_seccomp_enter(DOG_SECCOMP_STRICT, &e);
                if (rc == 0)
                        rc = agent_run(&config, key, &shim, &e);
                agent_shim_close(&shim);
        }
        if (rc < 0)
                dog_log(DOG_LOG_ERROR, "%s", e.text);
        return rc < 0 ? EXIT_FAILED : EXIT_FINE;
}

static int ask(const struct options *o)
{
        struct dog_err e = {0};
        int rc = agent_client_ask(o->socket, o->ask, o->is_json, stdout, &e);
        if (rc < 0)
                fprintf(stderr, "sundog-agent: %s\n", e.text);
        return rc < 0 ? EXIT_FAILED : EXIT_FINE;
}

/* @return -1 to go on, else the exit status */
static int options_read(struct options *o, int argc, char **argv)
{
        static const struct option option[] = {{"config", required_argument, NULL, 'c'},
                                               {"check", no_argument, NULL, 'k'},
                                               {"remove-shim", no_argument, NULL, 'r'},
                                               {"socket", required_argument, NULL, 's'},
                                               {"output", required_argument, NULL, 'o'},
                                               {"debug", no_argument, NULL, 'd'},
                                               {"version", no_argument, NULL, 'v'},
                                               {"help", no_argument, NULL, 'h'},
                                               {NULL, 0, NULL, 0}};
        int c;
        while ((c = getopt_long(argc, argv, "o:", option, NULL)) != -1) {
                switch (c) {
                case 'c':
                        o->config = optarg;
                        break;
                case 'k':
                        o->is_checking = true;
                        break;
                case 'r':
                        o->is_removing = true;
                        break;
                case 's':
                        o->socket = optarg;
                        break;
                case 'o':
                        o->is_json = strcmp(optarg, "json") == 0;
                        if (o->is_json || strcmp(optarg, "table") == 0)
                                break;
                        fprintf(stderr, "sundog-agent: -o is table or json, not \"%s\"\n", optarg);
                        return EXIT_USAGE;
                case 'd':
                        dog_log_level_set(DOG_LOG_DEBUG);
                        break;
                case 'v':
                        puts("sundog-agent " SUNDOG_VERSION);
                        return EXIT_FINE;
                case 'h':
                        usage(stdout);
                        return EXIT_FINE;
                default:
                        usage(stderr);
                        return EXIT_USAGE;
                }
        }
        if (optind < argc)
                o->ask = argv[optind++];
        if (optind == argc && (!o->ask || strcmp(o->ask, "status") == 0 || strcmp(o->ask, "conns") == 0))
                return -1;
        fprintf(stderr, "sundog-agent: \"%s\" is not a question: there are status and conns\n",
                argv[optind < argc ? optind : optind - 1]);
        return EXIT_USAGE;
}

int main(int argc, char **argv)
{
        struct options o = {.config = AGENT_CONFIG_FILE, .socket = AGENT_CONFIG_SOCKET};
        int status = options_read(&o, argc, argv);
        if (status >= 0)
                return status;
        return o.ask ? ask(&o) : serve(&o);
}
