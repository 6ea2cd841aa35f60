#include "daemon/trees.h"

#include "base/clock.h"
#include "base/log.h"
#include "learn/model_file.h"
#include "learn/path_contest.h"
#include "learn/path_store.h"
#include "learn/path_train.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WANTED_MOST = 64 };
/* Rows to learn from: 200 features of 4 bytes each make 50 MB of these. */
#define SAMPLES_LEARN 60000L
#define SAMPLES_TEST  400000L
/* The newest fifth is kept apart: enough pieces of ten minutes to tell, at most a day. */
#define TEST_SHARE    5
#define TEST_LEAST_NS (130 * 60 * DOG_S)
#define TEST_MOST_NS  (86400 * DOG_S)
#define START_NS      (60 * DOG_S) /* a daemon that has just started has better things to do */

struct trees {
        const struct dog_config *config;
        char own[PATH_MAX], previous[PATH_MAX], tried[PATH_MAX];
        struct dog_path_trained *trained, *before; /* in force; until released */
        char file[PATH_MAX], data[DOG_TABLE_NAME_SIZE], refused[600];
        int64_t made_wall_ns;

        struct dog_path_wanted wanted[WANTED_MOST];
        size_t wanteds;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t wakeup;
        bool is_started, is_stopping, is_ended, is_training, has_news; /* under the lock */
        struct dog_path_trained *candidate;                            /* news: NULL: stays as it is */
        struct dog_model *candidate_file;
        char text[700]; /* of the last training */
        int64_t last_wall_ns;
        double score_old, score_new, effort;
        int64_t began_ns, began_cpu_ns; /* of this training: what its share is counted from */
        void (*wake)(void *user);
        void *user;
};

/* ---- files ---- */

static bool file_is_there(const char *path)
{
        struct stat s;
        return stat(path, &s) == 0;
}

void trees_installed(const char *name, char *to, size_t room)
{
        /* Installed: bin and share are neighbours. In a source tree: build/sundog and data/. */
        static const char *const place[] = {"/../share/sundog/", "/../data/models/"};
        char beside[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", beside, sizeof(beside) - 1);
        to[0] = 0;
        if (n <= 0)
                return;
        beside[n] = 0;
        *strrchr(beside, '/') = 0;
        for (size_t i = 0; i < sizeof(place) / sizeof(place[0]); i++) {
                snprintf(to, room, "%s%s%s", beside, place[i], name);
                if (file_is_there(to))
                        return;
        }
        to[0] = 0;
}

static int trees_read_file(const char *file, struct dog_path_trained **to, struct dog_model **as,
                           struct dog_err *e)
{
        struct dog_model *m = NULL;
        int rc = dog_model_read(&m, file, e);
        if (rc == 0)
                rc = dog_path_trained_new(to, m, e);
        if (rc < 0 || !as) {
                dog_model_free(m);
                return rc;
        }
        *as = m;
        return 0;
}

int trees_read(const char *file, struct dog_path_trained **to, struct dog_err *e)
{
        *to = NULL;
        return trees_read_file(file, to, NULL, e);
}

static bool trees_take(struct trees *t, const char *file, bool is_wanted, void (*note)(void *, const char *),
                       void *user)
{
        struct dog_err e = {0};
        struct dog_model *m = NULL;
        char text[600];
        if (!is_wanted && !file_is_there(file))
                return false;
        if (trees_read_file(file, &t->trained, &m, &e) < 0) {
                snprintf(text, sizeof(text), "trees are not used: %s", e.text);
                snprintf(t->refused, sizeof(t->refused), "%s", e.text);
                if (note)
                        note(user, text);
                return false;
        }
        snprintf(t->file, sizeof(t->file), "%s", file);
        if (m) {
                snprintf(t->data, sizeof(t->data), "%s", m->data_name);
                t->made_wall_ns = m->made_wall_ns;
        }
        dog_model_free(m);
        return true;
}

static void trees_find(struct trees *t, void (*note)(void *, const char *), void *user)
{
        char installed[PATH_MAX];
        if (!t->config->forecast.has_trees)
                return;
        if (t->config->forecast.has_retrain && trees_take(t, t->own, false, note, user))
                return;
        if (t->config->forecast.model) {
                trees_take(t, t->config->forecast.model, true, note, user);
                return;
        }
        trees_installed("path.model", installed, sizeof(installed));
        if (installed[0])
                trees_take(t, installed, false, note, user);
}

/* ---- life ---- */

static struct dog_promise promise_of(const struct dog_config_profile *p)
{
        struct dog_promise promise = dog_promise_default();
        promise.rtt_ms = (double)p->latency_ns / (double)DOG_MS;
        promise.rtt_factor = p->latency_factor;
        promise.loss_ratio = p->loss_share;
        return promise;
}

/* Each promise once per tunnel; what promises neither delay nor loss cannot be judged by probes. */
static void trees_want(struct trees *t)
{
        for (size_t i = 0; i < t->config->tunnels; i++) {
                for (size_t k = 0; k < t->config->classes && t->wanteds < WANTED_MOST; k++) {
                        const struct dog_config_class *c = &t->config->class[k];
                        const char *tunnel = t->config->tunnel[i].name;
                        if (!c->promise || (c->tunnel && strcmp(c->tunnel, tunnel) != 0))
                                continue;
                        struct dog_promise p = promise_of(c->promise);
                        bool is_known = p.rtt_ms <= 0 && p.rtt_factor <= 0 && p.loss_ratio <= 0;
                        for (size_t w = 0; w < t->wanteds; w++)
                                is_known |= strcmp(t->wanted[w].tunnel, tunnel) == 0 &&
                                            memcmp(&t->wanted[w].promise, &p, sizeof(p)) == 0;
                        if (!is_known)
                                t->wanted[t->wanteds++] = (struct dog_path_wanted){tunnel, p};
                }
        }
}

int trees_open(struct trees **to, const struct dog_config *config, void (*note)(void *user, const char *text),
               void *user, struct dog_err *e)
{
        struct trees *t = calloc(1, sizeof(*t));
        *to = NULL;
        if (!t)
                return dog_err_set(e, -ENOMEM, "out of memory");
        t->config = config;
        t->effort = 1;
        t->score_old = t->score_new = (double)NAN;
        snprintf(t->own, sizeof(t->own), "%.4000s.model", config->store.path);
        snprintf(t->previous, sizeof(t->previous), "%.4000s.model.previous", config->store.path);
        snprintf(t->tried, sizeof(t->tried), "%.4000s.retrained", config->store.path);
        pthread_mutex_init(&t->lock, NULL);
        pthread_condattr_t clock;
        pthread_condattr_init(&clock);
        pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
        pthread_cond_init(&t->wakeup, &clock);
        pthread_condattr_destroy(&clock);
        trees_want(t);
        trees_find(t, note, user);
        *to = t;
        return 0;
}

void trees_close(struct trees *t)
{
        if (!t)
                return;
        if (t->is_started) {
                pthread_mutex_lock(&t->lock);
                t->is_stopping = true;
                pthread_cond_signal(&t->wakeup);
                pthread_mutex_unlock(&t->lock);
                struct timespec until;
                clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += 2;
                /* In the middle of a long step on a busy machine: it ends with the process, and its memory.
                 */
                if (pthread_timedjoin_np(t->thread, NULL, &until) != 0) {
                        pthread_detach(t->thread);
                        return;
                }
        }
        dog_path_trained_free(t->trained);
        dog_path_trained_free(t->before);
        dog_path_trained_free(t->candidate);
        dog_model_free(t->candidate_file);
        pthread_cond_destroy(&t->wakeup);
        pthread_mutex_destroy(&t->lock);
        free(t);
}

const struct dog_path_model *trees_model(const struct trees *t)
{
        return t && t->trained ? dog_path_trained_model(t->trained) : NULL;
}

json_t *trees_json(const struct trees *t)
{
        struct trees *own = (struct trees *)(uintptr_t)t; /* the lock is not part of what is told */
        pthread_mutex_lock(&own->lock);
        json_t *j = json_pack("{s:s, s:b, s:b, s:b}", "in_force",
                              t->trained ? "trees and online logistic" : "online logistic alone", "has_trees",
                              (int)(t->trained != NULL), "retrains", (int)t->is_started, "is_training",
                              (int)t->is_training);
        if (t->trained) {
                json_object_set_new(j, "file", json_string(t->file));
                json_object_set_new(j, "data", json_string(t->data));
                json_object_set_new(j, "made_wall_ns", json_integer((json_int_t)t->made_wall_ns));
        }
        if (t->refused[0])
                json_object_set_new(j, "refused", json_string(t->refused));
        if (t->text[0]) {
                json_object_set_new(j, "last", json_string(t->text));
                json_object_set_new(j, "last_wall_ns", json_integer((json_int_t)t->last_wall_ns));
                json_object_set_new(j, "score_in_force",
                                    isfinite(t->score_old) ? json_real(t->score_old) : json_null());
                json_object_set_new(j, "score_new",
                                    isfinite(t->score_new) ? json_real(t->score_new) : json_null());
        }
        pthread_mutex_unlock(&own->lock);
        return j;
}

/* ---- the thread ---- */

/* Sleep, but not longer than until the daemon stops. @return true: it stops */
static bool thread_sleep(struct trees *t, int64_t ns)
{
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t at_ns = (int64_t)until.tv_sec * DOG_S + until.tv_nsec + (ns > 0 ? ns : 0);
        until = (struct timespec){.tv_sec = at_ns / DOG_S, .tv_nsec = at_ns % DOG_S};
        pthread_mutex_lock(&t->lock);
        while (!t->is_stopping && ns > 0)
                if (pthread_cond_timedwait(&t->wakeup, &t->lock, &until) == ETIMEDOUT)
                        break;
        bool is_stopping = t->is_stopping;
        pthread_mutex_unlock(&t->lock);
        return is_stopping;
}

/*
 * Between pieces of work: no more than the share of one processor. What others did not leave to it is not
 * saved up: after a busy hour it does not take a quiet one whole.
 */
static int thread_pace(void *data)
{
        struct trees *t = data;
        /* A daemon that stops does not wait for ever, and frees its configuration: it is not read any more.
         */
        if (thread_sleep(t, 0))
                return -ECANCELED;
        int64_t spent_ns = dog_clock_mono_ns() - t->began_ns;
        double due_ns =
                (double)(dog_clock_cpu_ns() - t->began_cpu_ns) / fmax(t->config->forecast.retrain_cpu, 0.001);
        int64_t ahead_ns = (int64_t)due_ns - spent_ns;
        if (ahead_ns < 0)
                t->began_ns -= ahead_ns;
        return thread_sleep(t, ahead_ns) ? -ECANCELED : 0;
}

/* Telemetry before `split_ns` to learn from, the rest to judge by. */
static int thread_traces(struct trees *t, struct dog_path_traces *learn, struct dog_path_traces *test,
                         struct dog_err *e)
{
        struct dog_store_options o = {.path = t->config->store.path, .read_only = true};
        struct dog_store *store = NULL;
        int64_t now_ns = dog_clock_wall_ns();
        int64_t from_ns = now_ns - t->config->forecast.retrain_from_ns;
        if (t->wanteds == 0)
                return dog_err_set(e, -ENODATA,
                                   "no class was promised a delay or a loss: there is nothing to learn");
        int rc = dog_store_open(&o, &store, e);
        if (rc < 0)
                return rc;
        int64_t oldest_ns = dog_path_store_oldest(store, from_ns, now_ns);
        from_ns = oldest_ns > from_ns ? oldest_ns : from_ns;
        int64_t test_ns = oldest_ns == INT64_MAX ? 0 : (now_ns - from_ns) / TEST_SHARE;
        test_ns = test_ns > TEST_MOST_NS ? TEST_MOST_NS : test_ns < TEST_LEAST_NS ? TEST_LEAST_NS : test_ns;
        if (oldest_ns == INT64_MAX || now_ns - from_ns < 2 * test_ns)
                rc = dog_err_set(e, -ENODATA,
                                 "there is too little telemetry yet: %.1f h, and %.1f h are needed",
                                 oldest_ns == INT64_MAX ? 0 : (double)(now_ns - from_ns) / 3.6e12,
                                 2 * (double)test_ns / 3.6e12);
        if (rc == 0)
                rc = dog_path_store_traces(learn, store, t->wanted, t->wanteds, from_ns, now_ns - test_ns,
                                           SAMPLES_LEARN, e);
        if (rc == 0) {
                rc = dog_path_store_traces(test, store, t->wanted, t->wanteds, now_ns - test_ns, now_ns,
                                           SAMPLES_TEST, e);
                if (rc < 0)
                        dog_path_traces_free(learn);
        }
        dog_store_close(store);
        return rc;
}

static int thread_learn(struct trees *t, struct dog_path_traces *learn, struct dog_model **to,
                        struct dog_err *e)
{
        struct dog_path_train_options o = dog_path_train_default();
        struct dog_path_train *train = NULL;
        o.folds = 3;
        o.effort = t->effort;
        o.wait = thread_pace;
        o.wait_data = t;
        int rc = dog_path_train_new(&train, learn, &o, e);
        while (rc == 0) {
                if (thread_pace(t) < 0) {
                        rc = dog_err_set(e, -ECANCELED, "stopped");
                        break;
                }
                int more = dog_gbt_jobs_step(dog_path_train_jobs(train), e);
                if (more <= 0) {
                        rc = more;
                        break;
                }
        }
        if (rc == 0)
                rc = dog_path_train_finish(train, dog_clock_wall_ns(), to, e);
        dog_path_train_free(train);
        return rc < 0 ? rc : 0;
}

/* The new file in the place of the old one, which is kept. One that cannot be written leaves all as it was.
 */
static int thread_keep(struct trees *t, const struct dog_model *m, struct dog_err *e)
{
        bool is_kept = file_is_there(t->own);
        if (is_kept && rename(t->own, t->previous) < 0)
                return dog_err_set(e, -errno, "%s cannot be kept as %s: %s", t->own, t->previous,
                                   strerror(errno));
        int rc = dog_model_write(m, t->own, e);
        if (rc < 0 && is_kept)
                rename(t->previous, t->own);
        return rc;
}

static int thread_contest(struct trees *t, const struct dog_path_traces *test, struct dog_model *m,
                          struct dog_path_trained **better, struct dog_path_contest *c, struct dog_err *e)
{
        struct dog_path_trained *trained = NULL;
        int rc = dog_path_trained_new(&trained, m, e);
        if (rc == 0)
                rc = dog_path_contest(test, trees_model(t), dog_path_trained_model(trained), thread_pace, t,
                                      c, e);
        if (rc == 0 && c->is_better)
                rc = thread_keep(t, m, e);
        if (rc < 0 || !c->is_better) {
                dog_path_trained_free(trained);
                trained = NULL;
        }
        *better = trained;
        return rc;
}

static void thread_train(struct trees *t)
{
        struct dog_path_traces learn = {0};
        struct dog_path_traces test = {0};
        struct dog_path_contest c = {.score_old = (double)NAN, .score_new = (double)NAN};
        struct dog_path_trained *better = NULL;
        struct dog_model *m = NULL;
        struct dog_err e = {0};
        char text[700];
        t->began_ns = dog_clock_mono_ns();
        t->began_cpu_ns = dog_clock_cpu_ns();
        int rc = thread_traces(t, &learn, &test, &e);
        if (rc == 0) {
                rc = thread_learn(t, &learn, &m, &e);
                if (rc == 0)
                        rc = thread_contest(t, &test, m, &better, &c, &e);
                dog_path_traces_free(&learn);
                dog_path_traces_free(&test);
        }
        double cpu_s = (double)(dog_clock_cpu_ns() - t->began_cpu_ns) / 1e9;
        if (rc < 0)
                snprintf(text, sizeof(text), "no new trees: %s", e.text);
        else
                snprintf(text, sizeof(text), "%s: %s (%.0f s of processor time)",
                         better ? "new trees serve" : "new trees do not serve", c.text, cpu_s);
        pthread_mutex_lock(&t->lock);
        snprintf(t->text, sizeof(t->text), "%s", text);
        t->last_wall_ns = dog_clock_wall_ns();
        t->score_old = c.score_old;
        t->score_new = c.score_new;
        t->candidate = better;
        t->candidate_file = better ? m : NULL;
        t->is_training = false;
        t->has_news = !t->is_stopping;
        bool has_news = t->has_news;
        pthread_mutex_unlock(&t->lock);
        if (!better)
                dog_model_free(m);
        if (has_news)
                t->wake(t->user);
}

/* When training was last tried, so that a daemon that is often started anew trains all the same. */
static int64_t tried_wall_ns(const struct trees *t)
{
        struct stat s;
        return stat(t->tried, &s) == 0 ? (int64_t)s.st_mtim.tv_sec * DOG_S : 0;
}

static void tried_now(const struct trees *t)
{
        int fd = open(t->tried, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
        if (fd < 0)
                return;
        if (write(fd, "\n", 1) < 0)
                dog_log(DOG_LOG_WARN, "event=retrain file=%s error=%s", t->tried, strerror(errno));
        close(fd);
}

static void *thread_main(void *data)
{
        struct trees *t = data;
        struct sched_param none = {0};
        /* The lowest there is: it runs when nobody else wants to. */
        if (sched_setscheduler(0, SCHED_IDLE, &none) < 0)
                dog_log(DOG_LOG_WARN, "event=retrain text=\"cannot lower its priority: %s\"",
                        strerror(errno));
        setpriority(PRIO_PROCESS, 0, 19);
        int64_t every_ns = t->config->forecast.retrain_every_ns;
        int64_t wait_ns = tried_wall_ns(t) + every_ns - dog_clock_wall_ns();
        wait_ns = wait_ns > every_ns ? every_ns : wait_ns < START_NS ? START_NS : wait_ns;
        while (!thread_sleep(t, wait_ns < every_ns ? wait_ns : every_ns)) {
                pthread_mutex_lock(&t->lock);
                bool is_free = !t->has_news;
                t->is_training = is_free;
                pthread_mutex_unlock(&t->lock);
                if (is_free) {
                        tried_now(t);
                        thread_train(t);
                }
                wait_ns = every_ns;
        }
        return NULL;
}

int trees_train(struct trees *t, void (*wake)(void *user), void *user, struct dog_err *e)
{
        if (!t->config->forecast.has_retrain || !t->config->forecast.has_trees || t->config->tunnels == 0)
                return 0;
        t->wake = wake;
        t->user = user;
        int rc = pthread_create(&t->thread, NULL, thread_main, t);
        if (rc != 0)
                return dog_err_set(e, -rc, "trees are not trained: cannot start a thread: %s", strerror(rc));
        t->is_started = true;
        return 0;
}

void trees_effort(struct trees *t, double effort)
{
        t->effort = effort;
}

bool trees_news(struct trees *t, char *text, size_t room, bool *is_new)
{
        pthread_mutex_lock(&t->lock);
        bool has_news = t->has_news;
        *is_new = has_news && t->candidate != NULL && t->before == NULL;
        if (has_news)
                snprintf(text, room, "%s", t->text);
        if (*is_new) {
                t->before = t->trained;
                t->trained = t->candidate;
                t->candidate = NULL;
                snprintf(t->file, sizeof(t->file), "%s", t->own);
                snprintf(t->data, sizeof(t->data), "%s", t->candidate_file->data_name);
                t->made_wall_ns = t->candidate_file->made_wall_ns;
                dog_model_free(t->candidate_file);
                t->candidate_file = NULL;
        }
        t->has_news = false;
        pthread_mutex_unlock(&t->lock);
        return has_news;
}

void trees_release(struct trees *t)
{
        dog_path_trained_free(t->before);
        t->before = NULL;
}
