#include "learn/gbt_jobs.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct work {
        struct dog_gbt_job job;
        struct dog_gbt *model; /* NULL: not there yet, or nothing to learn */
};

struct dog_gbt_jobs {
        struct work *work;
        unsigned count, now;
        uint64_t key;
        struct dog_gbt_bins *bins;
        const struct dog_gbt_job *bins_of;
        struct dog_gbt_trainer *trainer;
};

int dog_gbt_jobs_new(struct dog_gbt_jobs **to, const struct dog_gbt_job *job, unsigned count, uint64_t key,
                     struct dog_err *e)
{
        struct dog_gbt_jobs *j = calloc(1, sizeof(*j));
        struct work *work = calloc(count + 1, sizeof(*work));
        *to = NULL;
        if (!j || !work) {
                free(j);
                free(work);
                return dog_err_set(e, -ENOMEM, "training: out of memory");
        }
        for (unsigned i = 0; i < count; i++)
                work[i].job = job[i];
        j->work = work;
        j->count = count;
        j->key = key;
        *to = j;
        return 0;
}

/* As new: what was done is forgotten. */
static void jobs_reset(struct dog_gbt_jobs *j)
{
        dog_gbt_trainer_free(j->trainer);
        dog_gbt_bins_free(j->bins);
        j->trainer = NULL;
        j->bins = NULL;
        j->bins_of = NULL;
        for (unsigned i = 0; i < j->count; i++) {
                dog_gbt_free(j->work[i].model);
                j->work[i].model = NULL;
        }
        j->now = 0;
}

void dog_gbt_jobs_free(struct dog_gbt_jobs *j)
{
        if (!j)
                return;
        jobs_reset(j);
        free(j->work);
        free(j);
}

/* ---- working ---- */

/* @return 1 when there is a trainer now, 0 when this job has nothing to learn */
static int jobs_begin(struct dog_gbt_jobs *j, const struct dog_gbt_job *job, struct dog_err *e)
{
        int rc = 0;
        if (!j->bins || j->bins_of->table != job->table || j->bins_of->use != job->use) {
                dog_gbt_bins_free(j->bins);
                j->bins = NULL;
                j->bins_of = job;
                rc = dog_gbt_bins_new(&j->bins, job->table, job->use, job->params.threads, e);
        }
        if (rc == 0)
                rc = dog_gbt_trainer_new(&j->trainer, j->bins, job->target, &job->params, e);
        if (rc == -ENODATA)
                return 0;
        return rc < 0 ? rc : 1;
}

int dog_gbt_jobs_step(struct dog_gbt_jobs *j, struct dog_err *e)
{
        if (j->now == j->count)
                return 0;
        struct work *w = &j->work[j->now];
        int rc = j->trainer ? 1 : jobs_begin(j, &w->job, e);
        if (rc > 0) {
                rc = dog_gbt_trainer_round(j->trainer, e);
                if (rc == 0)
                        rc = dog_gbt_trainer_model(j->trainer, &w->model, e);
        }
        if (rc != 0)
                return rc;
        dog_gbt_trainer_free(j->trainer);
        j->trainer = NULL;
        return ++j->now < j->count;
}

struct dog_gbt_jobs_progress dog_gbt_jobs_progress(const struct dog_gbt_jobs *j)
{
        struct dog_gbt_jobs_progress p = {.job = j->now};
        for (unsigned i = 0; i < j->count; i++) {
                p.of += j->work[i].job.params.rounds;
                p.done += i < j->now ? j->work[i].job.params.rounds : 0;
        }
        if (j->trainer)
                p.done += dog_gbt_trainer_progress(j->trainer).done;
        return p;
}

const struct dog_gbt *dog_gbt_jobs_model(const struct dog_gbt_jobs *j, unsigned job)
{
        return job < j->count ? j->work[job].model : NULL;
}

/* ---- stopping and going on ---- */

static const char state_magic[8] = {'S', 'U', 'N', 'D', 'O', 'G', 'P', '\n'};
enum { STATE_VERSION = 2, STATE_TAIL = 8 };

int dog_gbt_jobs_save(const struct dog_gbt_jobs *j, uint8_t **bytes, size_t *size, struct dog_err *e)
{
        uint8_t *state = NULL;
        size_t state_size = 0;
        size_t room = 64;
        if (j->trainer) {
                int rc = dog_gbt_trainer_save(j->trainer, &state, &state_size, e);
                if (rc < 0)
                        return rc;
        }
        for (unsigned i = 0; i < j->now; i++)
                room += 4 + (j->work[i].model ? dog_gbt_size(j->work[i].model) : 0);
        room += state_size;
        *bytes = malloc(room);
        if (!*bytes) {
                free(state);
                return dog_err_set(e, -ENOMEM, "the state of the training: out of memory");
        }
        struct dog_bytes to = dog_bytes_of(*bytes, room);
        dog_write_copy(&to, state_magic, sizeof(state_magic));
        dog_write_u32(&to, STATE_VERSION);
        dog_write_u64(&to, j->key);
        dog_write_u32(&to, j->now);
        for (unsigned i = 0; i < j->now; i++) {
                size_t one = j->work[i].model ? dog_gbt_size(j->work[i].model) : 0;
                dog_write_u32(&to, (uint32_t)one);
                if (one > 0)
                        dog_gbt_write(j->work[i].model, to.data + to.at);
                to.at += one;
        }
        dog_write_u32(&to, (uint32_t)state_size);
        if (state_size > 0)
                dog_write_copy(&to, state, state_size);
        free(state);
        dog_write_u64(&to, dog_gbt_state_checksum(*bytes, to.at));
        *size = to.at;
        return 0;
}

static int state_take(struct dog_gbt_jobs *j, struct dog_bytes *in, struct dog_err *e)
{
        uint32_t now = dog_read_u32(in);
        if (now > j->count)
                return dog_err_set(e, -EINVAL, "it counts more trainings than there are");
        for (uint32_t i = 0; i < now; i++) {
                struct work *w = &j->work[i];
                uint32_t size = dog_read_u32(in);
                int rc = 0;
                if (in->failed || size > dog_bytes_left(in))
                        return dog_err_set(e, -EINVAL, "it is cut off");
                if (size > 0)
                        rc = dog_gbt_read(&w->model, in->data + in->at, size, e);
                if (rc == 0 && size > 0 &&
                    (w->model->features != w->job.table->features || w->model->targets != 1))
                        rc = dog_err_set(e, -EINVAL, "its trees are of other features");
                if (rc < 0)
                        return rc;
                dog_read_skip(in, size);
                j->now = i + 1;
        }
        uint32_t size = dog_read_u32(in);
        if (in->failed || size != dog_bytes_left(in) || (size > 0 && j->now == j->count))
                return dog_err_set(e, -EINVAL, "it is cut off");
        if (size == 0)
                return 0;
        int rc = jobs_begin(j, &j->work[j->now].job, e);
        if (rc == 0)
                rc = dog_err_set(e, -EINVAL, "it is in the midst of what cannot be learned");
        return rc < 0 ? rc : dog_gbt_trainer_resume(j->trainer, in->data + in->at, size, e);
}

int dog_gbt_jobs_resume(struct dog_gbt_jobs *j, const uint8_t *bytes, size_t size, struct dog_err *e)
{
        struct dog_bytes in = dog_bytes_in(bytes, size >= STATE_TAIL ? size - STATE_TAIL : 0);
        struct dog_bytes tail = dog_bytes_in(bytes, size);
        char magic[sizeof(state_magic)] = {0};
        dog_read_copy(&in, magic, sizeof(magic));
        uint32_t version = dog_read_u32(&in);
        uint64_t key = dog_read_u64(&in);
        if (in.failed || memcmp(magic, state_magic, sizeof(magic)) != 0)
                return dog_err_set(e, -EINVAL, "this is not the state of a training");
        if (version != STATE_VERSION)
                return dog_err_set(e, -EINVAL, "a state of version %u, this program goes on with %d", version,
                                   STATE_VERSION);
        tail.at = size - STATE_TAIL;
        if (dog_read_u64(&tail) != dog_gbt_state_checksum(bytes, size - STATE_TAIL))
                return dog_err_set(e, -EINVAL, "it is damaged or cut off: its checksum does not match");
        if (key != j->key)
                return dog_err_set(e, -EINVAL,
                                   "it belongs to a training on other data or with other options");
        jobs_reset(j);
        int rc = state_take(j, &in, e);
        if (rc < 0)
                jobs_reset(j);
        return rc;
}
